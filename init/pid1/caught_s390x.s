#include "textflag.h"

// func caught()
// It is called by the kernel as a handler of signals: the signal's number is in
// R2, and the place to return to, which is the kernel's own, in R14.
TEXT ·caught(SB), NOSPLIT|NOFRAME, $0-0
	MOVD ·caughtPage(SB), R1
	MOVD $1, R3
	ADD  R2, R1
	MOVB R3, (R1)
	BR   R14

// func caughtAddresses() (handler, restorer uintptr)
TEXT ·caughtAddresses(SB), NOSPLIT, $0-16
	MOVD $·caught(SB), R1
	MOVD R1, handler+0(FP)
	MOVD $0, R1
	MOVD R1, restorer+8(FP)
	RET
