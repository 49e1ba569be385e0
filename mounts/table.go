package mounts

import (
	"errors"
	"fmt"
	"io/fs"
)

// Item is an entry of a table: a thing to make, and the reason.
type Item struct {
	Thing Thing
	Why   string
	// Optional items are skipped silently when the kernel does not support them.
	Optional bool
}

// Thing can be made. Making an existing one is not an error.
type Thing interface {
	Make() error
	String() string
}

const (
	common = "nosuid,nodev,noexec"
	sticky = fs.ModeSticky | 0o777
)

// Essential is what nothing works without, in order: a system that cannot
// have one of these cannot boot.
func Essential() []Item {
	return []Item{
		{Thing: FS{"proc", "/proc", "proc", "nosuid,nodev,noexec,relatime"}, Why: "processes, the command line, mountinfo"},
		{Thing: FS{"devtmpfs", "/dev", "devtmpfs", "nosuid,noexec,relatime,mode=0755"}, Why: "device nodes; kernels without an initramfs mount it themselves"},
		{Thing: Node{"/dev/console", 0o600, 5, 1}, Why: "where children write and people read; devtmpfs lacks it on kernels without a console"},
		{Thing: Node{"/dev/null", 0o666, 1, 3}, Why: "standard input of every child"},
		{Thing: Node{"/dev/kmsg", 0o660, 1, 11}, Why: "the kernel log, read and written"},
	}
}

// Core is the rest of what LinuxKit promises its containers. It is made after
// Essential and, when the root is an initramfs, after LeaveInitramfs.
func Core() []Item {
	return concat(writable(), devices(), kernel())
}

func writable() []Item {
	return append([]Item{
		{Thing: FS{"tmpfs", "/run", "tmpfs", common + ",relatime,size=10%,mode=755"}, Why: "sockets and state until power off"},
		{Thing: FS{"tmpfs", "/tmp", "tmpfs", common + ",relatime,size=10%,mode=1777"}, Why: "the root is read-only"},
		{Thing: FS{"tmpfs", "/var", "tmpfs", common + ",relatime,size=50%,mode=755"}, Why: "logs and data until an onboot container mounts a disk here"},
	}, inVar()...)
}

// inVar is what lies below /var.
func inVar() []Item {
	return []Item{
		{Thing: Dir{"/var/cache", 0o755}, Why: "FHS"},
		{Thing: Dir{"/var/empty", 0o555}, Why: "home of daemons that must not have one"},
		{Thing: Dir{"/var/lib", 0o755}, Why: "FHS; containerd's root is below"},
		{Thing: Dir{"/var/lib/containerd", 0o700}, Why: "LinuxKit's getty and sshd bind it, wherever containerd's root is"},
		{Thing: Dir{"/var/lib/docker", 0o755}, Why: "LinuxKit's cadvisor binds it"},
		{Thing: Dir{"/var/local", 0o755}, Why: "FHS"},
		{Thing: Dir{"/var/lock", 0o755}, Why: "FHS"},
		{Thing: Dir{"/var/log", 0o755}, Why: "logs of services"},
		{Thing: Dir{"/var/opt", 0o755}, Why: "FHS"},
		{Thing: Dir{"/var/spool", 0o755}, Why: "FHS"},
		{Thing: Dir{"/var/tmp", sticky}, Why: "FHS"},
		{Thing: Link{"/run", "/var/run"}, Why: "old programs look for /run here"},
	}
}

// CompleteVar makes what is missing of Core below /var, once all is mounted there
// that the boot mounts.
func CompleteVar() error {
	var errs []error
	for _, item := range inVar() {
		if err := item.Thing.Make(); err != nil {
			errs = append(errs, fmt.Errorf("%w (needed for: %s)", err, item.Why))
		}
	}
	return errors.Join(errs...)
}

func devices() []Item {
	return []Item{
		{Thing: Node{"/dev/tty1", 0o620, 4, 1}, Why: "first virtual terminal"},
		{Thing: Node{"/dev/tty", 0o666, 5, 0}, Why: "the controlling terminal of the process that opens it"},
		{Thing: Link{"/proc/self/fd", "/dev/fd"}, Why: "shells open /dev/fd/N"},
		{Thing: Link{"/proc/self/fd/0", "/dev/stdin"}, Why: "programs that read only files"},
		{Thing: Link{"/proc/self/fd/1", "/dev/stdout"}, Why: "programs that log only to files"},
		{Thing: Link{"/proc/self/fd/2", "/dev/stderr"}, Why: "programs that log only to files"},
		{Thing: Link{"/proc/kcore", "/dev/kcore"}, Why: "debuggers"},
		{Thing: FS{"mqueue", "/dev/mqueue", "mqueue", common}, Why: "mq_overview(7)", Optional: true},
		{Thing: FS{"shm", "/dev/shm", "tmpfs", common + ",mode=1777"}, Why: "shm_overview(7)"},
		{Thing: FS{"devpts", "/dev/pts", "devpts", "nosuid,noexec,gid=5,mode=0620"}, Why: "pseudo terminals; gid 5 is tty"},
	}
}

func kernel() []Item {
	return []Item{
		{Thing: FS{"sysfs", "/sys", "sysfs", common}, Why: "devices, modules, and the mount points below"},
		{Thing: FS{"securityfs", "/sys/kernel/security", "securityfs", common}, Why: "security modules", Optional: true},
		{Thing: FS{"debugfs", "/sys/kernel/debug", "debugfs", common}, Why: "debugging", Optional: true},
		{Thing: FS{"configfs", "/sys/kernel/config", "configfs", common}, Why: "targets and gadgets", Optional: true},
		{Thing: FS{"fusectl", "/sys/fs/fuse/connections", "fusectl", common}, Why: "FUSE connections", Optional: true},
		{Thing: FS{"selinuxfs", "/sys/fs/selinux", "selinuxfs", "nosuid,noexec"}, Why: "SELinux", Optional: true},
		{Thing: FS{"pstore", "/sys/fs/pstore", "pstore", common}, Why: "logs of crashed kernels", Optional: true},
		{Thing: FS{"bpf", "/sys/fs/bpf", "bpf", "nodev"}, Why: "pinned BPF objects", Optional: true},
		{Thing: FS{"efivarfs", "/sys/firmware/efi/efivars", "efivarfs", common}, Why: "EFI variables", Optional: true},
		{Thing: FS{"binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc", common}, Why: "binaries in other formats", Optional: true},
	}
}

func concat(tables ...[]Item) []Item {
	var all []Item
	for _, t := range tables {
		all = append(all, t...)
	}
	return all
}
