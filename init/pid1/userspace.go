package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/procfs"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

// Exit codes of userspace mode, in place of reboot(2). 133 is what
// systemd-nspawn takes for a wish to be started again.
const (
	codeDone   = 0
	codeFatal  = 1
	codeReboot = 133
)

// userspaceList is done in place of earlyList inside of another system.
func (p *pid1) userspaceList() []step.Step {
	const stage = timeline.Mounts
	return []step.Step{
		{Stage: stage, Name: "subreaper", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", p.adopt()
		}},
		{Stage: stage, Name: "look", Quiet: true, Do: p.lookAtCovered},
		{Stage: stage, Do: func(context.Context) (string, error) {
			return "", mountInside(p.place)
		}},
		{Stage: stage, Name: "writable", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", checkWritable("/run", "/var")
		}},
	}
}

// adopt makes orphans ours, as those of a PID namespace are its first process's.
func (p *pid1) adopt() error {
	if p.place.first {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become a subreaper: %w", err)
	}
	return nil
}

func mountInside(p place) error {
	err := mounts.Apply(insideTable(append(mounts.Essential(), mounts.Core()...), p.before))
	if !isMounted(p.before, "/sys/fs/cgroup") {
		err = errors.Join(err, mounts.Apply(mounts.Cgroup2()))
	}
	if slices.Contains(p.own, userspace.Mount) {
		err = errors.Join(err, mounts.Mount("", "/", "", []string{"rshared"}))
	}
	return err
}

// insideTable is what of table is made inside of another system. What is
// mounted there stays, whatever it is; file systems through which one looks into
// the kernel are the outer system's, and so are devices: a /dev of ours has the
// harmless ones.
func insideTable(table []mounts.Item, before []*mountinfo.Info) []mounts.Item {
	var mine []mounts.Item
	for _, item := range table {
		m, isMount := item.Thing.(mounts.FS)
		switch {
		case !isMount:
			if item, ok := insideThing(item); ok {
				mine = append(mine, item)
			}
			continue
		case isMounted(before, m.Target), m.Target != "/sys" && strings.HasPrefix(m.Target, "/sys/"), strings.HasPrefix(m.Target, "/proc/"):
			continue
		case m.Type == "devtmpfs":
			mine = append(mine, ownDevices(item)...)
			continue
		}
		mine = append(mine, item)
	}
	return mine
}

// insideThing is what a folder, link or node of the table becomes. Programs that
// must have a console or a kernel log find one that takes everything.
func insideThing(item mounts.Item) (mounts.Item, bool) {
	item.Optional = true
	switch thing := item.Thing.(type) {
	case mounts.Node:
		switch thing.Path {
		case "/dev/console", "/dev/kmsg":
			item.Thing = mounts.Link{To: "/dev/null", Path: thing.Path}
		case "/dev/null", "/dev/tty":
		default:
			return item, false
		}
	case mounts.Link:
		return item, thing.Path != "/dev/kcore"
	}
	return item, true
}

func ownDevices(dev mounts.Item) []mounts.Item {
	dev.Thing = mounts.FS{Source: "dev", Target: "/dev", Type: "tmpfs", Options: "nosuid,noexec,mode=755"}
	items := []mounts.Item{dev}
	for name, minor := range map[string]uint32{"zero": 5, "full": 7, "random": 8, "urandom": 9} {
		items = append(items, mounts.Item{Thing: mounts.Node{Path: "/dev/" + name, Mode: 0o666, Major: 1, Minor: minor}, Why: "devtmpfs would have it", Optional: true})
	}
	return items
}

func isMounted(infos []*mountinfo.Info, target string) bool {
	return slices.ContainsFunc(infos, func(m *mountinfo.Info) bool { return m.Mountpoint == target })
}

// unmountOwn takes down what was mounted since, latest first; what was there
// is the outer system's.
func unmountOwn(before []*mountinfo.Info) error {
	now, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("cannot list what to unmount: %w", err)
	}
	_, err = mounts.UnmountSteps(ownMounts(before, now))
	return err
}

func ownMounts(before, now []*mountinfo.Info) []mounts.Step {
	type key struct {
		id    int
		place string
	}
	known := map[key]bool{}
	for _, m := range before {
		known[key{m.ID, m.Mountpoint}] = true
	}
	var own []mounts.Step
	for _, m := range now {
		if m.Mountpoint != "/" && !known[key{m.ID, m.Mountpoint}] {
			own = append(own, mounts.Step{Target: m.Mountpoint, FSType: m.FSType})
		}
	}
	slices.Reverse(own)
	return own
}

// signalBelow sends sig to every process that descends from this one.
func signalBelow(sig unix.Signal) error {
	parents, err := processes()
	if err != nil {
		return err
	}
	for _, pid := range descendants(parents, os.Getpid()) {
		_ = unix.Kill(pid, sig) // It may have ended: all the better.
	}
	return nil
}

// processes gives every process's parent.
func processes() (map[int]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if stat, err := procfs.ReadStat("/proc", pid); err == nil {
			parents[pid] = stat.Parent
		}
	}
	return parents, nil
}

func descendants(parents map[int]int, root int) []int {
	var found []int
	seen := map[int]bool{root: true}
	for more := true; more; {
		more = false
		for pid, parent := range parents {
			if seen[parent] && !seen[pid] {
				seen[pid], more = true, true
				found = append(found, pid)
			}
		}
	}
	return found
}
