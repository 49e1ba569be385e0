// Package initramfs checks whether the kernel has unpacked the whole initramfs. The
// kernel logs a failure and continues with the files it has; PID 1 refuses to run an
// incomplete system.
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
	"keelson/runtime/paths"
)

// ErrIncomplete is returned when the kernel has not unpacked the whole
// initramfs.
var ErrIncomplete = errors.New("the root file system is incomplete")

// Files that keelson build puts into an initramfs: begunFile is near the beginning of
// the archive, wholeFile is its last entry. Archives of other builders have neither. The
// tmpfs that is mounted on /run covers both.
const (
	begunFile = paths.State + "/unpacking"
	wholeFile = paths.State + "/unpacked"
)

// rdImage is the file to which a kernel with CONFIG_BLK_DEV_RAM copies everything from
// the boot loader when it could not unpack all of it.
const rdImage = "/initrd.image"

// unpacking is what is known about the unpacking of the initramfs.
type unpacking struct {
	begun, whole bool   // begunFile and wholeFile exist
	complaint    string // the kernel's message about it, or ""
}

// Check checks whether the initramfs was unpacked completely. It returns a warning if the
// kernel reported a failure although no file is missing, and an error if files are
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

// verdict decides between warning and error. memory returns the size of the machine's
// memory as text.
//
// The kernel logs the same message for a truncated archive, for an archive followed by
// padding, and for two archives of which the second is bad. wholeFile distinguishes
// them; without it, the wording of the message does, as far as possible.
func (u unpacking) verdict(memory func() string) (warning string, err error) {
	cause := causeOf(u.complaint)
	switch {
	case u.whole && u.complaint == "", !u.begun && u.complaint == "":
		return "", nil
	case u.whole, !u.begun && cause == causeTrailing:
		return fmt.Sprintf("continuing: the kernel says %q, but the image is complete; what follows it (padding or another archive) is ignored", u.complaint), nil
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
	causeArchive  cause = iota // the archive is truncated or corrupt
	causeMemory                // out of memory
	causeTrailing              // the failure is after a complete archive
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
	// The kernel logs these only after the end of an archive. It logs "junk at the end
	// of compressed archive" and "no cpio magic" in the middle of an archive, too.
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
	record := make([]byte, 8192) // A read returns one record, and fails if the record does not fit.
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

// memTotal returns the size of the machine's memory as text.
func memTotal() string {
	text, _ := os.ReadFile("/proc/meminfo") // On failure, the size is unknown.
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
