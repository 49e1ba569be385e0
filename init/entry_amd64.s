#include "textflag.h"

// func entry()
// BX counts the ways to get a /dev/null that have been tried.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $39, AX // getpid()
	SYSCALL
	CMPQ AX, $1
	JNE  input
	MOVQ $157, AX // prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
	MOVQ $41, DI
	MOVQ $1, SI
	MOVQ $0, DX
	MOVQ $0, R10
	MOVQ $0, R8
	SYSCALL

input:
	MOVQ $72, AX // fcntl(0, F_GETFD)
	MOVQ $0, DI
	MOVQ $1, SI
	SYSCALL
	CMPQ AX, $-9 // EBADF
	JNE  run
	MOVQ $0, BX

open:
	MOVQ $257, AX // openat(AT_FDCWD, "/dev/null", O_RDWR)
	MOVQ $-100, DI
	LEAQ ·entryNull(SB), SI
	MOVQ $2, DX
	MOVQ $0, R10
	SYSCALL
	CMPQ AX, $0
	JGE  run
	CMPQ BX, $1
	JEQ  mount
	JGT  run
	MOVQ $39, AX // getpid()
	SYSCALL
	CMPQ AX, $1
	JNE  run
	MOVQ $258, AX // mkdirat(AT_FDCWD, "/dev", 0755)
	MOVQ $-100, DI
	LEAQ ·entryDev(SB), SI
	MOVQ $0x1ED, DX
	SYSCALL
	MOVQ $259, AX // mknodat(AT_FDCWD, "/dev/null", S_IFCHR|0666, 1:3)
	MOVQ $-100, DI
	LEAQ ·entryNull(SB), SI
	MOVQ $0x21B6, DX
	MOVQ $0x103, R10
	SYSCALL
	MOVQ $1, BX
	JMP  open

mount:
	MOVQ $165, AX // mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID|MS_NOEXEC, NULL)
	LEAQ ·entryDevtmpfs(SB), DI
	LEAQ ·entryDev(SB), SI
	LEAQ ·entryDevtmpfs(SB), DX
	MOVQ $10, R10
	MOVQ $0, R8
	SYSCALL
	MOVQ $2, BX
	JMP  open

run:
	JMP _rt0_amd64_linux(SB)
