package kernel

import "golang.org/x/sys/unix"

// Reboot ends the machine with a command of reboot(2) and returns only if that fails. If a kernel is loaded
// (kexec_file_load(2)), a reboot starts that one. Without one, and on kernels without kexec, the attempt fails at once.
func Reboot(command int, kexec bool) error {
	if kexec {
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC)
	}
	return unix.Reboot(command)
}
