package mounts

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Uncovered calls f with the root file system mounted a second time on dir, without the
// mounts below `/`: dir shows the files that they cover. The mount is in a mount namespace
// of the thread that runs f, is visible only there, and ends with the thread. f must not
// start goroutines that use dir. writable clears the read-only flag that SealRoot sets.
func Uncovered(dir string, writable bool, f func()) error {
	var err error
	nsErr := Apart(func() {
		if err = uncover(dir, writable); err == nil {
			f()
		}
	})
	return errors.Join(nsErr, err)
}

// Apart calls f in a mount namespace of the thread that runs f: what f mounts is visible
// only there, and is unmounted when f has returned. f must not start goroutines that use
// it.
func Apart(f func()) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Without unlocking it: the thread ends with the goroutine.
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err != nil {
			err = fmt.Errorf("cannot make a mount namespace: %w", err)
		} else {
			err = Mount("", "/", "", []string{"rprivate"})
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

func uncover(dir string, writable bool) error {
	if err := Mount("/", dir, "", []string{"bind"}); err != nil {
		return err
	}
	if writable {
		return Mount("", dir, "", []string{"remount", "bind", "rw"})
	}
	return nil
}
