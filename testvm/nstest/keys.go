package nstest

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TakeKeys uses up the key quota of a user until the test ends. No other test may use
// that user.
func TakeKeys(t *testing.T, uid int) {
	t.Helper()
	taken, done, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		// Never unlocked: the thread, its user and its keyring end with the goroutine.
		runtime.LockOSThread()
		taken <- takeKeys(uid)
		<-done
	}()
	t.Cleanup(func() { close(done); <-ended })
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
}

// takeKeys adds keys to the keyring of the calling thread, large ones first.
func takeKeys(uid int) error {
	id := uintptr(uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
		return fmt.Errorf("cannot become user %d: %w", uid, errno)
	}
	payload := make([]byte, 4096)
	for i := 0; len(payload) > 0; i++ {
		_, err := unix.AddKey("user", fmt.Sprint(i), payload, unix.KEY_SPEC_THREAD_KEYRING)
		switch {
		case errors.Is(err, unix.EDQUOT):
			payload = payload[:len(payload)/2]
		case err != nil:
			return fmt.Errorf("cannot add a key: %w", err)
		}
	}
	return nil
}
