#include "textflag.h"

// func handler()
// The kernel calls it as a signal handler: the signal number is in
// R2, the return address, in the vDSO, in R14.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOVD ·handlerPage(SB), R1
	MOVD $1, R3
	ADD  R2, R1
	MOVB R3, (R1)
	BR   R14

// func handlerAddresses() (handler, restorer uintptr)
TEXT ·handlerAddresses(SB), NOSPLIT, $0-16
	MOVD $·handler(SB), R1
	MOVD R1, handler+0(FP)
	MOVD $0, R1
	MOVD R1, restorer+8(FP)
	RET
