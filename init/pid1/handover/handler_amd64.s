#include "textflag.h"

// func handler()
// The kernel calls it as a signal handler: the signal number is in
// DI, the return address, handlerReturn, on the stack.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ ·handlerPage(SB), AX
	MOVB $1, (AX)(DI*1)
	RET

// func handlerReturn()
// It calls rt_sigreturn(2), which does not return.
TEXT ·handlerReturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $15, AX
	SYSCALL
	INT $3

// func handlerAddresses() (handler, restorer uintptr)
TEXT ·handlerAddresses(SB), NOSPLIT, $0-16
	LEAQ ·handler(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·handlerReturn(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
