package mounts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	busyPatience = 500 * time.Millisecond
	busyPause    = 10 * time.Millisecond
)

// Step is one unmount of a plan.
type Step struct {
	Target string
	FSType string
}

// kept by the kernel in memory: nothing is lost when it is not unmounted.
var volatile = map[string]bool{
	"autofs": true, "binfmt_misc": true, "bpf": true, "cgroup": true, "cgroup2": true,
	"configfs": true, "debugfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true,
	"fusectl": true, "hugetlbfs": true, "mqueue": true, "proc": true, "pstore": true,
	"ramfs": true, "rootfs": true, "securityfs": true, "selinuxfs": true, "sysfs": true,
	"tmpfs": true, "tracefs": true,
}

// UnmountPlan is the order in which the mounts in infos go: what lies on top
// or below first, what came last before what came first. The root stays, and
// so do file systems that only live in memory, unless one that does not lies
// under them. Namespaces kept by a bind (nsfs) go: they hold mounts of their
// own.
func UnmountPlan(infos []*mountinfo.Info) []Step {
	children := make(map[int][]*mountinfo.Info, len(infos))
	known := make(map[int]bool, len(infos))
	for _, m := range infos {
		known[m.ID] = true
	}
	var roots []*mountinfo.Info
	for _, m := range infos {
		if m.ID == m.Parent || !known[m.Parent] {
			roots = append(roots, m)
		} else {
			children[m.Parent] = append(children[m.Parent], m)
		}
	}
	var plan []Step
	seen := make(map[int]bool, len(infos)) // A torn read may hold a loop.
	var walk func(m *mountinfo.Info, must bool)
	walk = func(m *mountinfo.Info, must bool) {
		if seen[m.ID] {
			return
		}
		seen[m.ID] = true
		root := m.Mountpoint == "/"
		must = !root && (must || !volatile[m.FSType])
		below := children[m.ID]
		for i := len(below) - 1; i >= 0; i-- {
			walk(below[i], must)
		}
		if must {
			plan = append(plan, Step{Target: m.Mountpoint, FSType: m.FSType})
		}
	}
	for i := len(roots) - 1; i >= 0; i-- {
		walk(roots[i], false)
	}
	return plan
}

// UnmountAll unmounts all that UnmountPlan names, never lazily. What stays busy is
// reported and, when freezing is asked for, made read-only, as is the root.
// Freezing is about file systems, not mounts: inside another system it would hit
// that one's.
func UnmountAll(freezing bool) error {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("cannot list what to unmount: %w", err)
	}
	busy, _ := UnmountSteps(UnmountPlan(infos))
	if !freezing {
		return leftover(busy)
	}
	return errors.Join(freeze(busy), freezeRoot(infos))
}

// UnmountSteps unmounts in this order and returns what could not be, with the
// errors. As one mount may hold another (a loop device, an overlay), it tries
// again those that were busy as long as others go, and a little longer: what a
// process had open the kernel may close some ticks after its end (fput() leaves it
// to a worker then), and tells nobody.
func UnmountSteps(steps []Step) (busy []Step, err error) {
	for end := time.Now().Add(busyPatience); ; steps = busy {
		busy, err = unmountEach(steps)
		if len(busy) < len(steps) && len(busy) > 0 {
			continue
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return busy, err
		}
		<-time.After(busyPause)
	}
}

func unmountEach(steps []Step) (busy []Step, err error) {
	var errs []error
	for _, s := range steps {
		if err := Unmount(s.Target, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			busy, errs = append(busy, s), append(errs, err)
		}
	}
	return busy, errors.Join(errs...)
}

func leftover(busy []Step) error {
	var errs []error
	for _, s := range busy {
		errs = append(errs, fmt.Errorf("%s (%s) is busy: left mounted", s.Target, s.FSType))
	}
	return errors.Join(errs...)
}

func freeze(busy []Step) error {
	var errs []error
	for _, s := range busy {
		if err := Mount("", s.Target, "", []string{"remount,ro"}); err != nil {
			errs = append(errs, fmt.Errorf("%s stays mounted and writable: %w", s.Target, err))
			continue
		}
		errs = append(errs, fmt.Errorf("%s (%s) is busy: left mounted, read-only", s.Target, s.FSType))
	}
	return errors.Join(errs...)
}

func freezeRoot(infos []*mountinfo.Info) error {
	for _, m := range infos {
		if m.Mountpoint == "/" && !volatile[m.FSType] {
			return Mount("", "/", "", []string{"remount,ro"})
		}
	}
	return nil
}

// SwapOff turns off all swap.
func SwapOff() error {
	f, err := os.Open("/proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return nil // A kernel without swap.
	}
	if err != nil {
		return fmt.Errorf("cannot list swap: %w", err)
	}
	defer f.Close()
	var errs []error
	for _, path := range swaps(f) {
		if err := swapOff(path); err != nil {
			errs = append(errs, fmt.Errorf("cannot turn swap off on %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

func swapOff(path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// swaps reads /proc/swaps: a heading, then lines that begin with a path in
// which blanks are octal escapes.
func swaps(r io.Reader) []string {
	var paths []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 1 && strings.HasPrefix(f[0], "/") {
			paths = append(paths, unescape(f[0]))
		}
	}
	return paths
}

// unescape undoes the kernel's \ooo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
