package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/disk/plan"
	"keelson/runtime/uevent"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// loop is a disk in a file.
type loop struct {
	t          *testing.T
	file, node string
	said       bytes.Buffer
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func newLoop(t *testing.T, size int64) *loop {
	t.Helper()
	tier.Tool(t, "losetup", "mount")
	l := &loop{t: t, file: filepath.Join(t.TempDir(), "disk.img")}
	must(t, os.WriteFile(l.file, nil, 0o600))
	must(t, os.Truncate(l.file, size))
	l.attach()
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", l.node).Run() })
	return l
}

func (l *loop) attach() {
	l.t.Helper()
	l.node = strings.TrimSpace(tool(l.t, "losetup", "--find", "--show", "--partscan", l.file))
}

// reboot detaches the disk, as far as the kernel knows it, and attaches it with another size.
func (l *loop) reboot(size int64) {
	l.t.Helper()
	_ = exec.Command("delpart", l.node, "1").Run() // There may be none.
	tool(l.t, "losetup", "-d", l.node)
	must(l.t, os.Truncate(l.file, size))
	l.attach()
	l.known()
}

// known has the kernel know the partition in the table: that of the host may lack support for
// tables.
func (l *loop) known() {
	out, err := exec.Command("sfdisk", "--dump", l.node).Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		var start, size int64
		_, rest, _ := strings.Cut(line, " : ")
		if n, _ := fmt.Sscanf(strings.Join(strings.Fields(rest), ""), "start=%d,size=%d,", &start, &size); n == 2 {
			_ = exec.Command("delpart", l.node, "1").Run()
			_ = exec.Command("addpart", l.node, "1", strconv.FormatInt(start, 10), strconv.FormatInt(size, 10)).Run() // It may be known.
		}
	}
}

// system returns the machine, with this disk alone. cut is called before each command; if it
// returns an error, the command fails with it.
func (l *loop) system(cut func(Command) error) System {
	y := New(&l.said)
	y.Only = func(name string) bool { return name == filepath.Base(l.node) || name == filepath.Base(l.node)+"p1" }
	y.run = func(c Command) (string, error) {
		if cut != nil {
			if err := cut(c); err != nil {
				return "", err
			}
		}
		out, err := execute(c)
		if c.Name == "sfdisk" && !c.Quiet {
			l.known()
		}
		return out, err
	}
	return y
}

// run does what is wanted.
func (l *loop) run(w plan.Want) error {
	l.t.Helper()
	return l.system(nil).Run(context.Background(), w, Options{})
}

// device returns the path of a file system of a type on the disk.
func (l *loop) device(table string) string {
	if table == "" {
		return l.node
	}
	return l.node + "p1"
}

// checkers are the programs that find mistakes in file systems, and change nothing.
var checkers = map[string][]string{
	plan.Ext4: {"e2fsck", "-f", "-n"}, plan.XFS: {"xfs_repair", "-n"}, plan.Btrfs: {"btrfs", "check", "--readonly"}, plan.VFAT: {"fsck.fat", "-n"},
}

func (l *loop) check(fstype, device string) {
	l.t.Helper()
	c := checkers[fstype]
	tool(l.t, c[0], append(c[1:], device)...)
}

func supported(t *testing.T, fstype string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/filesystems")
	must(t, err)
	return strings.Contains(string(text), "\t"+fstype+"\n")
}

// growsHere reports whether the kernel lets this process grow a file system: that of ext4 takes
// CAP_SYS_RESOURCE, which some hosts of tests lack. VM tests have it.
func growsHere(fstype string) bool {
	header, sets := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	return fstype != plan.Ext4 || unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

const mib = 1 << 20

// An empty disk is formatted, and the file system is found, checked, grown and mounted at the next
// boot, when the disk is larger. Checkers find nothing wrong.
func TestFormatAndGrow(t *testing.T) {
	tier.Root(t)
	for _, c := range []struct{ fstype, table, program, pkg string }{
		{plan.Ext4, "", "mke2fs", "e2fsprogs"}, {plan.Ext4, plan.GPT, "mke2fs", "e2fsprogs"}, {plan.Ext4, plan.DOS, "mke2fs", "e2fsprogs"},
		{plan.XFS, "", "mkfs.xfs", "xfsprogs"}, {plan.Btrfs, plan.GPT, "mkfs.btrfs", "btrfs-progs"}, {plan.VFAT, "", "mkfs.fat", "dosfstools"},
	} {
		t.Run(c.fstype+c.table, func(t *testing.T) {
			tier.Tool(t, c.program, c.pkg)
			tier.Tool(t, "sfdisk", "fdisk")
			nstest.Run(t, func(t *testing.T) {
				l := newLoop(t, 512*mib)
				w := plan.Want{Label: "DATA", Type: c.fstype, Table: c.table, Format: []string{l.node}, Check: true, Grow: true}
				if supported(t, c.fstype) {
					w.Mount = filepath.Join(t.TempDir(), "a/b")
				}
				must(t, l.run(w))
				first := l.used(w, 0)
				l.check(c.fstype, l.device(c.table))
				l.reboot(768 * mib)
				w.Format = []string{l.node}
				must(t, l.run(w))
				if second := l.used(w, 1); w.Mount != "" && growsHere(c.fstype) && (first < 400*mib || second-first < 200*mib) {
					t.Errorf("the file system had %d MiB, and has %d\n%s", first/mib, second/mib, l.said.String())
				}
				l.check(c.fstype, l.device(c.table))
				if n := strings.Count(l.said.String(), "making "+c.fstype); n != 1 {
					t.Errorf("it was made %d times:\n%s", n, l.said.String())
				}
			})
		})
	}
}

// used checks what earlier boots have stored, stores something, and unmounts the file system. It
// returns its size.
func (l *loop) used(w plan.Want, boot int) int64 {
	l.t.Helper()
	if w.Mount == "" {
		return 0
	}
	file := filepath.Join(w.Mount, "kept")
	got, err := os.ReadFile(file)
	if want := strings.Repeat("x", boot); string(got) != want || boot > 0 && err != nil {
		l.t.Errorf("what was stored is %q, want %q (%v)", got, want, err)
	}
	must(l.t, os.WriteFile(file, append(got, 'x'), 0o600))
	size, err := blocks(w.Mount)
	must(l.t, err)
	must(l.t, mounts.Unmount(w.Mount, 0))
	return size
}

var errCut = errors.New("power cut")

// Disks with anything on them stay as they are.
func TestLeftAlone(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "mke2fs", "e2fsprogs")
	tier.Tool(t, "sfdisk", "fdisk")
	nstest.Run(t, func(t *testing.T) {
		l := newLoop(t, 64*mib)
		for _, c := range []struct {
			name, want string
			fill       func()
		}{
			{"a byte", "is not empty: left alone", func() { l.put(mib-1, "x") }},
			{"a byte where the partition would be", "is not empty: left alone", func() { l.put(3*mib, "x") }},
			{"a byte at the end", "is not empty: left alone", func() { l.put(64*mib-1, "x") }},
			{"a file system", "contains ext4: left alone", func() { tool(t, "mke2fs", "-q", "-t", "ext4", "-L", "other", l.node) }},
			{"a partition table", "has a partition table (gpt): left alone", func() { _, _ = execute(Command{Name: "sfdisk", Args: []string{l.node}, Stdin: "label: gpt\n"}) }},
			{"something that resembles a mark", "is not empty: left alone", func() { l.put(64*mib-plan.MarkSize, "keelson formats this device 2\n") }},
		} {
			must(t, os.Truncate(l.file, 0))
			must(t, os.Truncate(l.file, 64*mib))
			tool(t, "losetup", "-d", l.node)
			l.attach()
			c.fill()
			before, err := os.ReadFile(l.file)
			must(t, err)
			for _, w := range []plan.Want{{Label: "data", Type: plan.Ext4, Format: []string{l.node}}, {Label: "data", Type: plan.Ext4, Table: plan.GPT, Format: []string{plan.Any}}} {
				if err := l.run(w); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q", c.name, err, c.want)
				}
			}
			if after, err := os.ReadFile(l.file); err != nil || !bytes.Equal(before, after) {
				t.Errorf("%s: the disk has changed (%v)", c.name, err)
			}
		}
		force := plan.Want{Device: l.node, Type: plan.Ext4, Format: []string{l.node}, Force: true}
		must(t, l.run(force))
		l.check(plan.Ext4, l.node)
	})
}

// put writes text to the disk.
func (l *loop) put(at int64, text string) {
	l.t.Helper()
	f, err := os.OpenFile(l.node, os.O_WRONLY, 0)
	must(l.t, err)
	_, err = f.WriteAt([]byte(text), at)
	must(l.t, errors.Join(err, f.Sync(), f.Close()))
}

// A device that is mounted where the process cannot see it is not formatted, also with -force.
func TestMountedElsewhere(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "mke2fs", "e2fsprogs")
	nstest.Run(t, func(t *testing.T) {
		l := newLoop(t, 64*mib)
		tool(t, "mke2fs", "-q", "-t", "ext4", l.node)
		cmd := exec.Command("unshare", "--mount", "sh", "-c", "mount -t ext4 "+l.node+" /mnt && echo mounted && read wait")
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		defer func() { _ = errors.Join(in.Close(), cmd.Wait()) }()
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		err = l.run(plan.Want{Device: l.node, Type: plan.Ext4, Format: []string{l.node}, Force: true})
		if err == nil || !strings.Contains(err.Error(), "busy") {
			t.Errorf("formatting it: %v", err)
		}
	})
}

// Without the disk, the message says what was looked for, and how long.
func TestAbsentDisk(t *testing.T) {
	tier.Root(t)
	nstest.Run(t, func(t *testing.T) {
		l := newLoop(t, 64*mib)
		err := l.run(plan.Want{Device: filepath.Join(t.TempDir(), "none"), Type: plan.Ext4, Wait: time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "none does not exist; there are: loop") || !strings.Contains(err.Error(), "waited 1ms") {
			t.Errorf("without a disk: %v", err)
		}
	})
}

// A path that appears is found: links in /dev/disk do so after the kernel's event.
func TestLateName(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "mke2fs", "e2fsprogs")
	nstest.Run(t, func(t *testing.T) {
		l := newLoop(t, 64*mib)
		tool(t, "mke2fs", "-q", "-t", "ext4", l.node)
		dir := t.TempDir()
		w := plan.Want{Device: filepath.Join(dir, "disk/by-label/late"), Type: plan.Ext4, Mount: t.TempDir(), Wait: time.Hour}
		y, waits := l.system(nil), make(chan struct{}, 100)
		say := y.say
		y.say = func(format string, args ...any) { say(format, args...); waits <- struct{}{} }
		ended := make(chan error)
		go func() { ended <- y.Run(context.Background(), w, Options{}) }()
		<-waits
		must(t, os.MkdirAll(filepath.Dir(w.Device), 0o755))
		must(t, os.Symlink(l.node, filepath.Join(dir, "temp")))
		must(t, os.Rename(filepath.Join(dir, "temp"), w.Device))
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, l.said.String())
		}
		must(t, mounts.Unmount(w.Mount, 0))
	})
}

// Whatever part of the writes since the mark a power cut has lost, in whatever order they were done,
// the next boot completes the file system.
func TestTornWrites(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "mke2fs", "e2fsprogs")
	tier.Tool(t, "sfdisk", "fdisk")
	nstest.Run(t, func(t *testing.T) {
		const size = 24 * mib
		for _, table := range []string{"", plan.GPT} {
			l := newLoop(t, size)
			w := plan.Want{Label: "data", Type: plan.Ext4, Table: table, Format: []string{l.node}, Check: true, Grow: true, Mount: t.TempDir()}
			var before []byte // When the mark is all that is there.
			err := l.system(func(c Command) error {
				var err error
				if before == nil {
					before, err = os.ReadFile(l.file)
				}
				if c.Name == "mke2fs" {
					_, _ = execute(c)
					return errCut
				}
				return err
			}).Run(context.Background(), w, Options{})
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			tool(t, "sync", l.node)
			after, err := os.ReadFile(l.file)
			must(t, err)
			for seed := range uint64(tier.Extent(5, 60)) {
				l.tear(seed, before, after)
				w.Format = []string{l.node}
				if err := l.run(w); err != nil {
					t.Fatalf("%q, seed %d: %v\n%s", table, seed, err, l.said.String())
				}
				must(t, mounts.Unmount(w.Mount, 0))
				l.check(plan.Ext4, l.device(table))
			}
		}
	})
}

// tear attaches a disk that has of each 4 KiB what was before or after: before of all with seed 0,
// after of all with seed 1, at random with others.
func (l *loop) tear(seed uint64, before, after []byte) {
	l.t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	torn := bytes.Clone(before)
	for at := 0; at < len(torn); at += 4096 {
		if seed == 1 || seed > 1 && r.IntN(2) == 0 {
			copy(torn[at:at+4096], after[at:])
		}
	}
	_ = exec.Command("delpart", l.node, "1").Run() // There may be none.
	tool(l.t, "losetup", "-d", l.node)
	must(l.t, os.WriteFile(l.file, torn, 0o600))
	l.attach()
	l.known()
}

// A path that appears after the disks were observed, and before its folder is watched, is found.
func TestWaitForWhatIsThere(t *testing.T) {
	events, err := uevent.Listen()
	must(t, err)
	defer events.Close()
	if !await(t.Context(), events, []string{t.TempDir()}) {
		t.Error("it is not found")
	}
}
