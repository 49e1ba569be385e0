// Package initramfs checks whether the kernel has unpacked the whole initramfs. The
// kernel logs a failure and continues with the files it has; PID 1 never runs half a
// system.
//
// Sources: the kernel's init/initramfs.c and lib/decompress_*.c for its messages,
// Documentation/ABI/testing/dev-kmsg.
package initramfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/mounts"
)

// ErrIncomplete is returned when the kernel has not unpacked the whole
// initramfs.
var ErrIncomplete = errors.New("the root file system is incomplete")

// Files that keelson build puts into an initramfs: begunFile stands near the
// beginning of the archive, wholeFile is its last entry. An archive of others has
// neither. Both disappear under the tmpfs that is mounted on /run.
const (
	begunFile = "/run/keelson/unpacking"
	wholeFile = "/run/keelson/unpacked"
)

// rdImage is where a kernel with CONFIG_BLK_DEV_RAM copies all that the boot
// loader has passed when it could not unpack all of it.
const rdImage = "/initrd.image"

// unpacking is what can be known about the unpacking of the initramfs.
type unpacking struct {
	begun, whole bool   // begunFile and wholeFile exist
	complaint    string // the kernel's message about it, "" for none
}

// Check reports whether the initramfs has been unpacked whole: a warning
// when the kernel complained although all is there, an error when files are
// missing. On other roots it does nothing.
func Check() (warning string, err error) {
	own, err := mounts.OnInitramfs()
	if err != nil || !own {
		return "", err
	}
	u := unpacking{begun: exists(begunFile), whole: exists(wholeFile)}
	if u.complaint, err = complaint("/dev/kmsg"); err != nil && u.begun && u.whole {
		return fmt.Sprintf("the image is complete, but whether more follows it is unknown: %v", err), nil
	}
	if err != nil {
		return "", err
	}
	warning, err = u.verdict(memTotal)
	if warning != "" {
		_ = os.Remove(rdImage) // It takes as much memory as the archive.
	}
	return warning, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// verdict decides. memory names the size of the machine's memory.
//
// The kernel says the same of an archive that is cut off, of one followed by
// padding, and of two archives of which the second is bad. wholeFile tells these
// apart. Without it the kernel's words do, as far as they can.
func (u unpacking) verdict(memory func() string) (warning string, err error) {
	cause := causeOf(u.complaint)
	switch {
	case u.whole && u.complaint == "", !u.begun && u.complaint == "":
		return "", nil
	case u.whole, !u.begun && cause == causeTrailing:
		return fmt.Sprintf("going on: the kernel says %q, but the image is complete; what the boot loader passed behind it (padding or another archive) was not used", u.complaint), nil
	case cause == causeMemory:
		return "", fmt.Errorf("%w: the kernel says %q; this machine has %s of memory: give the machine more memory or make the image smaller",
			ErrIncomplete, u.complaint, memory())
	case u.complaint == "":
		return "", fmt.Errorf("%w: the archive ends before its last entry, and the kernel says nothing about it: write the initramfs to the boot medium again, and compare its size with the one that was built", ErrIncomplete)
	}
	return "", fmt.Errorf("%w: the kernel says %q: the archive is truncated or corrupt, or the kernel cannot read its compression; write the initramfs to the boot medium again, and compare its checksum with the one that was built",
		ErrIncomplete, u.complaint)
}

// cause is why the kernel stopped unpacking.
type cause int

const (
	causeArchive  cause = iota // the archive is cut off or corrupt
	causeMemory                // memory ran out
	causeTrailing              // all archives before the one complained about are complete
)

// causeWords are parts of the kernel's messages (init/initramfs.c and the
// decompressors in lib/decompress_*.c).
var causeWords = []struct {
	words string
	cause cause
}{
	{"write error", causeMemory},
	{"incomplete write", causeMemory},
	{"ut of memory", causeMemory}, // "Out of memory while allocating …", "ran out of memory"
	{"ould not allocate", causeMemory},
	{"an't allocate", causeMemory},
	// The kernel says these behind the end of an archive. "junk at the end of
	// compressed archive" and "no cpio magic" it says in the middle of one, too.
	{"invalid magic at start of compressed archive", causeTrailing},
	{"junk within compressed archive", causeTrailing},
	{"broken padding", causeTrailing},
	{"not configured", causeTrailing}, // "compression method … not configured"
}

// causeOf interprets the kernel's message.
func causeOf(complaint string) cause {
	for _, w := range causeWords {
		if strings.Contains(complaint, w.words) {
			return w.cause
		}
	}
	return causeArchive
}

// complaint reads the kernel log from its start and returns the message about
// the initramfs, or "".
func complaint(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("cannot read the kernel log: %w", err)
	}
	defer unix.Close(fd)
	record := make([]byte, 8192) // A read gives one record, and fails if it does not fit.
	for {
		n, err := unix.Read(fd, record)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // EPIPE: records were overwritten.
		case errors.Is(err, unix.EAGAIN), n == 0 && err == nil:
			return "", nil
		case err != nil:
			return "", fmt.Errorf("cannot read the kernel log: %w", err)
		default:
			if text, ok := failedUnpacking(string(record[:max(n, 0)])); ok {
				return text, nil
			}
		}
	}
}

// failedUnpacking reads a record "PRIORITY,SEQUENCE,TIME,FLAGS…;TEXT\n KEY=…".
// Only the kernel's own records count: facility 0, so a priority below 8.
func failedUnpacking(record string) (string, bool) {
	head, text, _ := strings.Cut(record, ";")
	priority, _, _ := strings.Cut(head, ",")
	if n, err := strconv.Atoi(priority); err != nil || n > 7 {
		return "", false
	}
	text, _, _ = strings.Cut(text, "\n")
	for _, phrase := range []string{"Initramfs unpacking failed", "rootfs image is not initramfs"} {
		if strings.Contains(text, phrase) {
			return text, true
		}
	}
	return "", false
}

// memTotal is the size of the machine's memory.
func memTotal() string {
	text, _ := os.ReadFile("/proc/meminfo") // Without it the size is unknown.
	return memTotalIn(string(text))
}

// memTotalIn finds "MemTotal: 123456 kB" in meminfo and formats it in MB.
func memTotalIn(meminfo string) string {
	for line := range strings.Lines(meminfo) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "MemTotal:" {
			if kb, err := strconv.Atoi(f[1]); err == nil {
				return fmt.Sprintf("%d MB", kb/1024)
			}
		}
	}
	return "an unknown amount"
}
