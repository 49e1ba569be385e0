#include "textflag.h"

// func caught()
// It is called by the kernel as a handler of signals: the signal's number is in
// A0, and the place to return to, which is the kernel's own, in RA.
TEXT ·caught(SB), NOSPLIT|NOFRAME, $0-0
	MOV  ·caughtPage(SB), T0
	MOV  $1, T1
	ADD  A0, T0, T0
	MOVB T1, (T0)
	RET

// func caughtAddresses() (handler, restorer uintptr)
TEXT ·caughtAddresses(SB), NOSPLIT, $0-16
	MOV $·caught(SB), T0
	MOV T0, handler+0(FP)
	MOV ZERO, restorer+8(FP)
	RET
