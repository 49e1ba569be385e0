package handover

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/fault"
)

// variable is the environment variable with the file descriptor of the handover.
const variable = "KEELSON_HANDOVER"

// Handover is the file that the new program reads. It is never closed or unmapped,
// because the signal handler may still write to it.
type Handover struct {
	fd   int
	page []byte // mapping of the file's first page
}

// Signals are the signals that matter while a program is replaced.
type Signals struct {
	Caught []os.Signal // recorded in the handover until signals are blocked for good
	Held   []os.Signal // others that stay pending for the new program
}

// New returns an empty handover.
func New() (*Handover, error) {
	fd, err := unix.MemfdCreate("keelson-handover", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a handover: %w", err)
	}
	h, size := &Handover{fd: fd}, os.Getpagesize()
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		h.page, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot make a handover: %w", err)
	}
	return h, nil
}

// Exec executes path in place of this program, with its arguments and environment
// variables. It calls payload when all earlier signals have reached their channels; later
// signals are recorded in the handover. Exec returns only when it fails, with the signals
// that the new program would have received. Meanwhile no other process may be started: it
// would inherit the file.
func (h *Handover) Exec(path string, signals Signals, payload func() ([]byte, error)) (caught []syscall.Signal, err error) {
	clear(h.page[:payloadAt])
	if err := h.keepOpen(true); err != nil {
		return nil, err
	}
	defer func() { _ = h.keepOpen(false) }()
	defer hold(signals.Caught, signals.Held)()
	restore, err := catch(signals.Caught, h.caught())
	if err != nil {
		return nil, err
	}
	defer func() {
		restore()
		caught = numbers(h.caught())
	}()
	data, err := payload()
	if err != nil {
		return nil, err
	}
	if err := h.write(data); err != nil {
		return nil, err
	}
	env := append(os.Environ(), fmt.Sprintf("%s=%d", variable, h.fd))
	return nil, fmt.Errorf("cannot execute %s: %w", path, syscall.Exec(path, os.Args, env))
}

// Exec executes path in place of this program and passes no state. Signals stay
// pending until the new program takes them. It returns only when it fails.
func Exec(path string, signals Signals) error {
	defer hold(signals.Caught, signals.Held)()
	return fmt.Errorf("cannot execute %s: %w", path, syscall.Exec(path, os.Args, os.Environ()))
}

// Note passes a text of up to 16 bytes that is known too late for the payload. A nil
// Handover ignores it.
func (h *Handover) Note(text string) {
	if h != nil {
		_, _ = unix.Pwrite(h.fd, []byte(text[:min(len(text), noteSize)]), int64(noteAt))
	}
}

// keepOpen sets whether execve(2) leaves the file open.
func (h *Handover) keepOpen(keep bool) error {
	flags := unix.FD_CLOEXEC
	if keep {
		flags = 0
	}
	if _, err := unix.FcntlInt(uintptr(h.fd), unix.F_SETFD, flags); err != nil {
		return fmt.Errorf("cannot pass the handover: %w", err)
	}
	return nil
}

// caught returns the slot with a byte for each signal.
func (h *Handover) caught() []byte { return h.page[caughtAt:headAt] }

func (h *Handover) write(payload []byte) error {
	data, err := encode(payload)
	if err != nil {
		return err
	}
	fault.Spoil(data)
	if err := pwriteAll(h.fd, data, headAt); err != nil {
		return err
	}
	return pwriteAll(h.fd, []byte(magic), 0)
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

// Inherited reports whether this program was executed with a handover.
func Inherited() bool {
	_, ok := inherited()
	return ok
}

// inherited finds the file. The variable alone is not enough, because anyone who starts
// this program can set it: the file must exist only in memory.
func inherited() (fd int, ok bool) {
	fd, err := strconv.Atoi(os.Getenv(variable))
	if err != nil || fd <= 2 {
		return 0, false
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return 0, false
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 {
		return 0, false
	}
	return fd, true
}

// Load reads the handover with which this program was executed, and closes it. The error
// is ErrCorrupt, also if there is no handover.
func Load() (Received, error) {
	fd, ok := inherited()
	if !ok {
		return Received{}, fmt.Errorf("%w: there is none", ErrCorrupt)
	}
	defer unix.Close(fd)
	_ = os.Unsetenv(variable)
	data := make([]byte, fileMax)
	n, err := unix.Pread(fd, data, 0)
	if err != nil {
		return Received{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return decode(data[:max(n, 0)])
}
