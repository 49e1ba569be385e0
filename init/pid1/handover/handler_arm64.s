#include "textflag.h"

// func handler()
// The kernel calls it as a signal handler: the signal number is in
// R0, the return address, handlerReturn, in R30.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOVD ·handlerPage(SB), R1
	MOVD $1, R2
	ADD  R0, R1, R1
	MOVB R2, (R1)
	RET

// func handlerReturn()
// It calls rt_sigreturn(2), which does not return.
TEXT ·handlerReturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $139, R8
	SVC
	BRK

// func handlerAddresses() (handler, restorer uintptr)
TEXT ·handlerAddresses(SB), NOSPLIT, $0-16
	MOVD $·handler(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $·handlerReturn(SB), R0
	MOVD R0, restorer+8(FP)
	RET
