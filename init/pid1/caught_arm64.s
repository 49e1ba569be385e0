#include "textflag.h"

// func caught()
// It is called by the kernel as a handler of signals: the signal's number is in
// R0, and the place to return to, caughtReturn, in R30.
TEXT ·caught(SB), NOSPLIT|NOFRAME, $0-0
	MOVD ·caughtPage(SB), R1
	MOVD $1, R2
	ADD  R0, R1, R1
	MOVB R2, (R1)
	RET

// func caughtReturn()
// rt_sigreturn(2), which does not return.
TEXT ·caughtReturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $139, R8
	SVC
	BRK

// func caughtAddresses() (handler, restorer uintptr)
TEXT ·caughtAddresses(SB), NOSPLIT, $0-16
	MOVD $·caught(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $·caughtReturn(SB), R0
	MOVD R0, restorer+8(FP)
	RET
