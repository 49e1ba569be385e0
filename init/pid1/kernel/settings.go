// Package kernel changes the kernel settings for which PID 1 is responsible: limits of
// processes, limits that containers share, transparent huge pages, expedited RCU grace
// periods, the rate limit of the kernel log, ctrl-alt-del, the reboot after a panic. It
// also finds out what the kernel does in a panic and at power-off.
//
// A setting on the kernel command line wins. A setting that the kernel does not have is
// not an error.
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

	"keelson/runtime/cmdline"
)

const (
	hugePages    = "/sys/kernel/mm/transparent_hugepage/enabled"
	expeditedRCU = "/sys/kernel/rcu_expedited"
	panicPath    = "/proc/sys/kernel/panic"
	devKmsg      = "/proc/sys/kernel/printk_devkmsg"
	// hugePagesFrom is the memory size in bytes from which huge pages are enabled.
	hugePagesFrom = 2 << 30
)

// LimitHugePages restricts transparent huge pages to programs that ask for them
// (madvise(2)). With "always", the default of most kernels, every small program clears
// and keeps megabytes that it never uses. On a small machine they are disabled: the
// kernel would reserve a twentieth of the memory for them. transparent_hugepage= on the
// command line wins.
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

// AllowHugePages resets PR_SET_THP_DISABLE of prctl(2), which /init's entry point sets before
// the Go runtime starts, and which children would inherit.
func AllowHugePages() error {
	err := unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: a kernel older than 3.15.
		return fmt.Errorf("cannot allow huge pages to children: %w", err)
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

// ExpediteRCU makes RCU grace periods end immediately instead of after some ticks.
// Creating and removing namespaces, cgroups and mounts, which happens mostly at boot and
// shutdown, waits for a grace period each time. Expedited grace periods interrupt every
// processor, so they are disabled in normal operation.
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

// UnlimitLog disables the limit of ten lines in five seconds for each writer of
// /dev/kmsg, which would lose lines of the boot. printk.devkmsg= on the command line
// wins: the kernel then refuses to change the limit (EINVAL).
func UnlimitLog() error {
	err := os.WriteFile(devKmsg, []byte("on\n"), 0)
	if err == nil || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return fmt.Errorf("cannot lift the limit of /dev/kmsg: %w", err)
}

// CatchCtrlAltDel makes ctrl-alt-del send SIGINT to PID 1 instead of resetting the
// machine.
func CatchCtrlAltDel() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("cannot catch ctrl-alt-del: %w", err)
	}
	return nil
}

// panicTimeout is after how many seconds the kernel reboots in a panic by default: time
// to read the report.
const panicTimeout = 10

// RebootAfterPanic makes the kernel reboot 10 s after a panic, so that a machine that
// nobody watches comes back. panic= on the command line wins, also panic=0, and so does a
// kernel that was built with a timeout.
func RebootAfterPanic(line cmdline.Line) error {
	if _, given := line.Last("panic"); given || PanicTimeout() != 0 {
		return nil
	}
	if err := os.WriteFile(panicPath, fmt.Appendln(nil, panicTimeout), 0); err != nil {
		return fmt.Errorf("cannot make the kernel reboot after a panic: %w", err)
	}
	return nil
}

// PanicTimeout returns the value of panic=: the seconds after which the kernel reboots in
// a panic. A negative value means immediately, 0 means never.
func PanicTimeout() int {
	text, err := os.ReadFile(panicPath)
	if err != nil {
		return 0
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return seconds
}

// Log writes lines to the kernel log, for messages without a console. Errors are ignored:
// nobody could be told.
func Log(lines []string) {
	for _, line := range lines {
		_ = os.WriteFile("/dev/kmsg", []byte("<26>keelson: "+line+"\n"), 0)
	}
}
