// Package kernel changes the settings of the kernel that PID 1 is responsible for:
// limits of processes and those that containers share, transparent huge pages,
// expedited RCU grace periods, the limit of the kernel log, ctrl-alt-del; and finds
// out what the kernel does in a panic and at power-off.
//
// What the kernel command line says about a setting wins. A setting that the
// kernel was built without is no error.
//
// Sources: setrlimit(2), reboot(2), proc_sys(5); the kernel's
// admin-guide/mm/transhuge.rst, admin-guide/kernel-parameters.rst
// (rcupdate.rcu_expedited, printk.devkmsg, panic), admin-guide/sysctl/kernel.rst,
// kernel/ksysfs.c, kernel/reboot.c.
package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
)

const (
	hugePages    = "/sys/kernel/mm/transparent_hugepage/enabled"
	expeditedRCU = "/sys/kernel/rcu_expedited"
	devKmsg      = "/proc/sys/kernel/printk_devkmsg"
	// hugePagesFrom is the memory in bytes from which on huge pages are on.
	hugePagesFrom = 2 << 30
)

// LimitHugePages leaves transparent huge pages to programs that ask for them
// (madvise(2)). With "always", the default of most kernels, every small program
// clears and keeps megabytes that it never uses. A small machine has none: the
// kernel reserves a twentieth of its memory for making them. What
// transparent_hugepage= says on the command line stays.
func LimitHugePages(line cmdline.Line) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("cannot read the size of the memory: %w", err)
	}
	mode := hugePageMode(line, uint64(info.Totalram)*uint64(info.Unit))
	if mode == "" {
		return nil
	}
	err := os.WriteFile(hugePages, []byte(mode), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // No such file: a kernel without them.
		return fmt.Errorf("cannot limit huge pages: %w", err)
	}
	return nil
}

// hugePageMode returns the mode for a machine with that much memory, or "" when the
// command line sets one.
func hugePageMode(line cmdline.Line, memory uint64) string {
	if _, given := line.Last("transparent_hugepage"); given {
		return ""
	}
	if memory < hugePagesFrom {
		return "never"
	}
	return "madvise"
}

// ExpediteRCU has RCU grace periods end immediately instead of after some ticks.
// Making and removing namespaces, cgroups and mounts, which happens at boot and
// shutdown and rarely in between, waits for a grace period each time. Expedited ones
// interrupt every processor, so they are off in normal operation.
func ExpediteRCU(on bool) error { return expedite(expeditedRCU, on) }

func expedite(path string, on bool) error {
	value := "0\n"
	if on {
		value = "1\n"
	}
	err := os.WriteFile(path, []byte(value), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // No such file: a kernel for one processor.
		return fmt.Errorf("cannot set %s to %s: %w", path, strings.TrimSpace(value), err)
	}
	return nil
}

// UnlimitLog lifts the limit of ten lines in five seconds for each writer of
// /dev/kmsg, which would lose lines of the boot. What printk.devkmsg= says on the
// command line stays: the kernel then refuses to change it (EINVAL).
func UnlimitLog() error {
	err := os.WriteFile(devKmsg, []byte("on\n"), 0)
	if err == nil || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return fmt.Errorf("cannot lift the limit of /dev/kmsg: %w", err)
}

// CatchCtrlAltDel has ctrl-alt-del send SIGINT to PID 1 instead of resetting the
// machine.
func CatchCtrlAltDel() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("cannot catch ctrl-alt-del: %w", err)
	}
	return nil
}

// PanicTimeout is the value of panic=: the seconds after which the kernel reboots in
// a panic, immediately when negative, never when 0.
func PanicTimeout() int {
	text, err := os.ReadFile("/proc/sys/kernel/panic")
	if err != nil {
		return 0
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return seconds
}
