#include "textflag.h"

// func caught()
// It is called by the kernel as a handler of signals: the signal's number is in
// DI, and the place to return to, caughtReturn, on the stack.
TEXT ·caught(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ ·caughtPage(SB), AX
	MOVB $1, (AX)(DI*1)
	RET

// func caughtReturn()
// rt_sigreturn(2), which does not return.
TEXT ·caughtReturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $15, AX
	SYSCALL
	INT $3

// func caughtAddresses() (handler, restorer uintptr)
TEXT ·caughtAddresses(SB), NOSPLIT, $0-16
	LEAQ ·caught(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·caughtReturn(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
