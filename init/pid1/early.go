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
