package pid1

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"keelson/runtime/fault"
)

// heirVariable is the environment variable that tells /init, executed by itself,
// which of its file descriptors is the handover.
const heirVariable = "KEELSON_HANDOVER"

// heir is the next incarnation of PID 1: a file in memory (memfd_create(2)) that
// execve(2) leaves open. It needs no file system, so a full /run cannot keep it
// from being written.
type heir struct {
	fd   int
	page []byte // its beginning
}

// newHeir makes one. It is never taken apart: a handler of signals may still be
// writing to it.
func newHeir() (*heir, error) {
	fd, err := unix.MemfdCreate("keelson-handover", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a handover: %w", err)
	}
	h, size := &heir{fd: fd}, os.Getpagesize()
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		h.page, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot make a handover: %w", err)
	}
	return h, nil
}

// empty takes out what an earlier try has left.
func (h *heir) empty() { clear(h.page[:bodyAt]) }

// outlive has execve(2) leave the file open, or not. Nothing else may be started
// meanwhile: it would inherit it.
func (h *heir) outlive(exec bool) error {
	flags := unix.FD_CLOEXEC
	if exec {
		flags = 0
	}
	if _, err := unix.FcntlInt(uintptr(h.fd), unix.F_SETFD, flags); err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	return nil
}

// caught is where signals go that come last, by number.
func (h *heir) caught() []byte { return h.page[caughtAt:headAt] }

// hear takes an action that was asked for after the state was written down.
func (h *heir) hear(a action) {
	if h != nil {
		_, _ = unix.Pwrite(h.fd, []byte(a.name), int64(lateAt))
	}
}

func (h *heir) write(s state) error {
	magic, rest, err := s.encode()
	if err != nil {
		return err
	}
	fault.Spoil(rest)
	if err := pwriteAll(h.fd, rest, headAt); err != nil {
		return err
	}
	return pwriteAll(h.fd, magic, 0) // Last: without it nothing is valid.
}

func pwriteAll(fd int, data []byte, at int) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, int64(at))
		if err != nil || n <= 0 {
			return fmt.Errorf("cannot write the handover: %w", err)
		}
		data, at = data[n:], at+n
	}
	return nil
}

// inheritance is the handover that this process was executed with. The variable
// alone proves nothing, since whoever starts us chooses the environment: the file
// must be one that lives in memory alone.
func inheritance() (*heir, bool) {
	fd, err := strconv.Atoi(os.Getenv(heirVariable))
	if err != nil || fd <= 2 {
		return nil, false
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return nil, false
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 {
		return nil, false
	}
	return &heir{fd: fd}, true
}

// Again tells whether this process has executed itself.
func Again() bool {
	_, again := inheritance()
	return again
}

// read takes the state out, and closes the file.
func (h *heir) read() (state, error) {
	defer unix.Close(h.fd)
	_ = os.Unsetenv(heirVariable)
	data := make([]byte, handoverLimit)
	n, err := unix.Pread(h.fd, data, 0)
	if err != nil {
		return state{}, fmt.Errorf("%w: %w", errHandover, err)
	}
	return decode(data[:max(n, 0)])
}
