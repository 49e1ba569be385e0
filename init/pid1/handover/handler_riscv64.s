#include "textflag.h"

// func handler()
// The kernel calls it as a signal handler: the signal number is in
// A0, the return address, in the vDSO, in RA.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOV  ·handlerPage(SB), T0
	MOV  $1, T1
	ADD  A0, T0, T0
	MOVB T1, (T0)
	RET

// func handlerAddresses() (handler, restorer uintptr)
TEXT ·handlerAddresses(SB), NOSPLIT, $0-16
	MOV $·handler(SB), T0
	MOV T0, handler+0(FP)
	MOV ZERO, restorer+8(FP)
	RET
