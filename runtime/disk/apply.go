package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/disk/plan"
)

// Options are how things are done, apart from what is wanted.
type Options struct {
	KeyFile string // of an encrypted volume
	PBKDF   string // "pbkdf2" for a key that is random; else cryptsetup's default
	Mount   []string
}

// apply does a step. After formatting, links in /dev/disk are renewed.
func (y System) apply(a plan.Action, s plan.State, o Options) error {
	err := y.act(a, s, o)
	if err == nil && (a.Op == plan.MakeFS || a.Op == plan.CryptReady) {
		// The kernel sends no event of its own. Without a /sys that can be written, none is sent.
		_ = y.setBlock(a.Device, "uevent", "change")
	}
	return err
}

func (y System) act(a plan.Action, s plan.State, o Options) error {
	var d plan.Device
	for _, each := range s.Devices {
		if each.Name == a.Device {
			d = each
		}
	}
	node := y.node(d)
	switch a.Op {
	case plan.Wipe:
		return y.wipe(d, s)
	case plan.SetMark:
		b, err := a.Mark.Encode()
		if err != nil {
			return err
		}
		return y.write(d, b, a.Mark.At(d.Size))
	case plan.ClearMark:
		return y.write(d, make([]byte, plan.MarkSize), a.Mark.At(d.Size))
	case plan.Partition, plan.RepairTable, plan.GrowPart:
		return y.partition(a, node)
	case plan.MakeFS:
		if err := y.tool(makeFS(a, node, o)); err != nil {
			return err
		}
		return y.sync(d)
	case plan.OpenCrypt:
		return y.tool(Command{Name: "cryptsetup", Args: []string{"open", "--type", "luks", "--disable-keyring", "--key-file", o.KeyFile, node, a.Name}})
	case plan.CryptReady:
		if err := y.tool(Command{Name: "cryptsetup", Args: []string{"config", node, "--label", d.Content.Label, "--subsystem", ""}}); err != nil {
			return err
		}
		return y.sync(d)
	case plan.CheckFS:
		return y.check(a, node)
	case plan.MountFS:
		return mountFS(a, node, o)
	case plan.SwapOn:
		return swapOn(node, 0)
	case plan.GrowFS:
		return y.growFS(a, node)
	}
	return fmt.Errorf("step %q is not known", a.Op)
}

func (y System) tool(c Command) error {
	_, err := y.run(c)
	return err
}

// open opens a device for writing. It fails with EBUSY if the device is in use, also in a mount
// namespace that cannot be seen from here (open(2), O_EXCL).
func (y System) open(d plan.Device) (*os.File, error) {
	return os.OpenFile(filepath.Join(y.Dev, d.Name), os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
}

// write writes b at a position of a device, and waits until it is on it.
func (y System) write(d plan.Device, b []byte, at int64) error {
	f, err := y.open(d)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Sync(), f.Close())
}

// sync waits until all that was written to a device is on it.
func (y System) sync(d plan.Device) error {
	f, err := os.OpenFile(filepath.Join(y.Dev, d.Name), os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// wipe overwrites what a device and its partitions are recognised by, and has the kernel forget
// the partitions.
func (y System) wipe(d plan.Device, s plan.State) error {
	for _, part := range s.Devices {
		if part.Disk == d.Name {
			if err := y.zero(part); err != nil {
				return err
			}
		}
	}
	if err := y.zero(d); err != nil {
		return err
	}
	if d.Disk != "" || d.Mapped != "" {
		return nil
	}
	f, err := y.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	// A device that cannot have partitions has none to forget.
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the kernel does not read the partition table of %s again: %w", d.Name, err)
	}
	return nil
}

func (y System) zero(d plan.Device) error {
	f, err := y.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for _, part := range [][2]int64{{0, min(d.Size, zeroHead)}, {max(0, d.Size-zeroTail), d.Size}} {
		for at := part[0]; at < part[1]; at += int64(len(zeros)) {
			if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), part[1]-at)], at); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}

// partition changes a partition table. sfdisk writes the last copy of a GPT before the first one.
func (y System) partition(a plan.Action, node string) error {
	switch a.Op {
	case plan.RepairTable:
		if err := y.tool(Command{Name: "sfdisk", Args: []string{"--relocate", "gpt-bak-std", node}}); err != nil {
			return err
		}
		return y.reread(node)
	case plan.GrowPart:
		disk := filepath.Join(y.Dev, a.Disk)
		if a.Table == plan.GPT {
			if err := y.tool(Command{Name: "sfdisk", Args: []string{"--no-reread", "--relocate", "gpt-bak-std", disk}}); err != nil {
				return err
			}
		}
		return y.tool(Command{Name: "sfdisk", Args: []string{"--no-reread", "--wipe", "never", "--wipe-partitions", "never", "-N", strconv.Itoa(a.Part), disk}, Stdin: ", +\n"})
	}
	script := "label: dos\nstart=1MiB, type=83\n"
	if a.Mark.Table == plan.GPT {
		script = fmt.Sprintf("label: gpt\nstart=1MiB, type=linux, uuid=%s, name=%q\n", a.Mark.UUID, a.Mark.Label)
	}
	return y.tool(Command{Name: "sfdisk", Args: []string{"--wipe", "never", "--wipe-partitions", "never", node}, Stdin: script})
}

func (y System) reread(node string) error {
	f, err := os.OpenFile(node, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("BLKRRPART", unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0))
}

// makeFS returns the command that makes the file system of an action. None discards what is on
// the device first, because the mark is on it.
func makeFS(a plan.Action, node string, o Options) Command {
	m, size := a.Mark, strconv.FormatInt(a.Size, 10)
	kib := strconv.FormatInt(a.Size/1024, 10)
	switch a.Type {
	case plan.Ext4:
		return Command{Name: "mke2fs", Args: []string{"-q", "-F", "-t", "ext4", "-b", "4096", "-i", "16384", "-m", "0", "-E", "nodiscard",
			"-L", m.Label, "-U", m.UUID, node, strconv.FormatInt(a.Size/4096, 10)}}
	case plan.XFS:
		return Command{Name: "mkfs.xfs", Args: []string{"-q", "-f", "-K", "-L", m.Label, "-m", "uuid=" + m.UUID, "-d", "size=" + size, node}}
	case plan.Btrfs:
		return Command{Name: "mkfs.btrfs", Args: []string{"-q", "-f", "-K", "-L", m.Label, "-U", m.UUID, "-b", size, node}}
	case plan.VFAT:
		// Without a table for other systems: the kernel would find a partition in it that is the disk.
		args := []string{"-I", "--mbr=n", "-i", plan.VolumeID(m.UUID)}
		if m.Label != "" {
			args = append(args, "-n", m.Label)
		}
		return Command{Name: "mkfs.fat", Args: append(args, node, kib)}
	case plan.Swap:
		return Command{Name: "mkswap", Args: []string{"-f", "-L", m.Label, "-U", m.UUID, node, kib}}
	}
	args := []string{"luksFormat", "--batch-mode", "--type", "luks2", "--disable-keyring", "--label", m.Label, "--subsystem", plan.FreshSubsystem,
		"--uuid", m.UUID, "--key-file", o.KeyFile}
	if o.PBKDF == "pbkdf2" { // A random key needs no function that makes guessing slow.
		args = append(args, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
	}
	return Command{Name: "cryptsetup", Args: append(args, node)}
}

// check repairs what needs no decision. xfs and btrfs do that when they are mounted.
func (y System) check(a plan.Action, node string) error {
	var c Command
	switch a.Type {
	case "ext2", "ext3", plan.Ext4:
		c = Command{Name: "e2fsck", Args: []string{"-p", node}, OK: []int{1, 2, 3}}
	case plan.VFAT:
		c = Command{Name: "fsck.fat", Args: []string{"-a", node}, OK: []int{1}}
	default:
		return nil
	}
	out, err := y.run(c)
	if err != nil {
		return fmt.Errorf("cannot repair the file system of %s: %w; run %s -y %[1]s", a.Device, err, c.Name)
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && a.Type != plan.VFAT && !strings.Contains(line, ": clean, ") {
			y.say("%s: %s", c.Name, line)
		}
	}
	return nil
}

// mountFS mounts the file system, without devices and set-user-ID programs unless the options
// say so.
func mountFS(a plan.Action, node string, o Options) error {
	if err := os.MkdirAll(a.Target, 0o755); err != nil {
		return err
	}
	return mounts.Mount(node, a.Target, a.Type, append([]string{"nodev", "nosuid"}, o.Mount...))
}

// growFS grows a mounted file system. Each kernel and file system protects that by its journal.
func (y System) growFS(a plan.Action, node string) error {
	before, err := blocks(a.Target)
	if err != nil {
		return err
	}
	c := Command{Name: "resize2fs", Args: []string{node}}
	switch a.Type {
	case plan.XFS:
		c = Command{Name: "xfs_growfs", Args: []string{"-d", a.Target}}
	case plan.Btrfs:
		c = Command{Name: "btrfs", Args: []string{"filesystem", "resize", "max", a.Target}}
	}
	if err := y.tool(c); err != nil {
		return err
	}
	after, err := blocks(a.Target)
	if err == nil && after > before {
		y.say("the file system of %s has grown from %d to %d MiB", a.Device, before>>20, after>>20)
	}
	return err
}

// blocks returns the size of a mounted file system in bytes.
func blocks(target string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(target, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: target, Err: err}
	}
	return int64(s.Blocks) * int64(s.Bsize), nil
}
