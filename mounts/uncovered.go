package mounts

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Uncovered calls f with the root file system mounted a second time on dir, without the
// mounts below `/`: dir shows the files that they cover. The mount is in a mount namespace
// of the thread that runs f, is visible only there, and ends with the thread. f must not
// start goroutines that use dir. writable clears the read-only flag that SealRoot sets.
func Uncovered(dir string, writable bool, f func()) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Without unlocking it: the thread ends with the goroutine.
		err := uncover(dir, writable)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// uncover makes that namespace for the calling thread.
func uncover(dir string, writable bool) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace: %w", err)
	}
	if err := Mount("", "/", "", []string{"rprivate"}); err != nil {
		return err
	}
	if err := Mount("/", dir, "", []string{"bind"}); err != nil {
		return err
	}
	if writable {
		return Mount("", dir, "", []string{"remount", "bind", "rw"})
	}
	return nil
}
