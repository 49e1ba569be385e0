package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/mounts"
)

// ErrIncompleteRoot is that of an initramfs the kernel could not unpack whole.
var ErrIncompleteRoot = errors.New("the root file system is incomplete")

// checkRoot looks for the kernel's word that it could not unpack the
// initramfs. It goes on with what it has got, and so files are missing.
func checkRoot() error {
	own, err := mounts.OnInitramfs()
	if err != nil || !own {
		return err
	}
	found, err := complaint("/dev/kmsg")
	if err != nil || found == "" {
		return err
	}
	text, _ := os.ReadFile("/proc/meminfo") // Without it the message is just shorter.
	return fmt.Errorf("%w: the kernel says %q; this machine has %s of memory: give the machine more memory or make the image smaller",
		ErrIncompleteRoot, found, memTotal(string(text)))
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

// memTotal finds "MemTotal: 123456 kB" in meminfo and says it in MB.
func memTotal(meminfo string) string {
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

// panicSetting is how the kernel was told to behave in a panic (panic=).
func panicSetting() int {
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

// mountCore makes everything LinuxKit promises, then seals the root.
func mountCore(context.Context) (string, error) {
	err := errors.Join(mounts.Apply(mounts.Core()), mounts.Cgroups(legacyCgroups()))
	return "", errors.Join(err, mounts.SealRoot())
}

// checkWritable wants folders to write in: without them nothing can run. A
// read-only root whose image forgot to bring the mount points has none.
func checkWritable(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			continue
		}
		err = fmt.Errorf("cannot write in %s: %w", dir, err)
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w: the root is read-only and has no such folder to mount on; make an empty %s part of the image", err, dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func leaveInitramfs(context.Context) (string, error) {
	_, err := mounts.LeaveInitramfs()
	return "", err
}
