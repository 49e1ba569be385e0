#include "textflag.h"

// func entry()
// S2 counts the ways to get a /dev/null that have been tried.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0-0
	MOV  $172, A7 // getpid()
	ECALL
	MOV  $1, T0
	BNE  A0, T0, input
	MOV  $167, A7 // prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
	MOV  $41, A0
	MOV  $1, A1
	MOV  $0, A2
	MOV  $0, A3
	MOV  $0, A4
	ECALL

input:
	MOV  $25, A7 // fcntl(0, F_GETFD)
	MOV  $0, A0
	MOV  $1, A1
	ECALL
	MOV  $-9, T0 // EBADF
	BNE  A0, T0, run
	MOV  $0, S2

open:
	MOV  $56, A7 // openat(AT_FDCWD, "/dev/null", O_RDWR)
	MOV  $-100, A0
	MOV  $·entryNull(SB), A1
	MOV  $2, A2
	MOV  $0, A3
	ECALL
	BGEZ A0, run
	MOV  $1, T0
	BEQ  S2, T0, mount
	BLT  T0, S2, run
	MOV  $172, A7 // getpid()
	ECALL
	MOV  $1, T0
	BNE  A0, T0, run
	MOV  $34, A7 // mkdirat(AT_FDCWD, "/dev", 0755)
	MOV  $-100, A0
	MOV  $·entryDev(SB), A1
	MOV  $0x1ED, A2
	ECALL
	MOV  $33, A7 // mknodat(AT_FDCWD, "/dev/null", S_IFCHR|0666, 1:3)
	MOV  $-100, A0
	MOV  $·entryNull(SB), A1
	MOV  $0x21B6, A2
	MOV  $0x103, A3
	ECALL
	MOV  $1, S2
	JMP  open

mount:
	MOV  $40, A7 // mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID|MS_NOEXEC, NULL)
	MOV  $·entryDevtmpfs(SB), A0
	MOV  $·entryDev(SB), A1
	MOV  $·entryDevtmpfs(SB), A2
	MOV  $10, A3
	MOV  $0, A4
	ECALL
	MOV  $2, S2
	JMP  open

run:
	JMP _rt0_riscv64_linux(SB)
