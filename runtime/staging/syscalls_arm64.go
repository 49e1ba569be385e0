package staging

import "golang.org/x/sys/unix"

const callArch = unix.AUDIT_ARCH_AARCH64
