package fdstore

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable with the descriptors of the pair: "3,4".
const Variable = "KEELSON_FDSTORE"

// Pair is what PID 1 keeps: both ends of a pair of connected sockets. It never reads them.
type Pair [2]*os.File

// NewPair makes a pair without messages.
func NewPair() (*Pair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a store of descriptors: %w", err)
	}
	return &Pair{os.NewFile(uintptr(fds[0]), "fdstore"), os.NewFile(uintptr(fds[1]), "fdstore")}, nil
}

// Files returns the ends for a child whose next free descriptor is first, and the
// environment variable for it. A nil Pair has none.
func (p *Pair) Files(first int) (files []*os.File, env []string) {
	if p == nil {
		return nil, nil
	}
	return p[:], []string{fmt.Sprintf("%s=%d,%d", Variable, first, first+1)}
}

// Numbers returns the descriptors of the ends, with which Reopen finds them after
// execve(2); nil for a nil Pair.
func (p *Pair) Numbers() []int {
	if p == nil {
		return nil
	}
	return []int{int(p[0].Fd()), int(p[1].Fd())}
}

// KeepOpen sets whether execve(2) leaves the ends open.
func (p *Pair) KeepOpen(keep bool) error {
	flags := unix.FD_CLOEXEC
	if keep {
		flags = 0
	}
	for _, fd := range p.Numbers() {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags); err != nil {
			return fmt.Errorf("cannot pass the store of descriptors: %w", err)
		}
	}
	return nil
}

// Reopen returns the pair that an earlier program left open. It makes sure that the
// descriptors are those of Unix sockets.
func Reopen(numbers []int) (*Pair, error) {
	if len(numbers) != 2 || numbers[0] <= 2 || numbers[1] <= 2 || numbers[0] == numbers[1] {
		return nil, errors.New("there is no store of descriptors")
	}
	for _, fd := range numbers {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err == nil && domain != unix.AF_UNIX {
			err = unix.EPROTOTYPE
		}
		if err != nil {
			return nil, fmt.Errorf("descriptor %d is not of a store of descriptors: %w", fd, err)
		}
	}
	p := &Pair{os.NewFile(uintptr(numbers[0]), "fdstore"), os.NewFile(uintptr(numbers[1]), "fdstore")}
	return p, p.KeepOpen(false)
}

// Inherited returns the store of the pair with which PID 1 has started this program; nil
// if there is none. It must be called before any other program is started, which would
// inherit the pair.
func Inherited() (*Store, error) {
	value, ok := os.LookupEnv(Variable)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(Variable)
	var a, b int
	if _, err := fmt.Fscanf(strings.NewReader(value), "%d,%d", &a, &b); err != nil {
		return nil, fmt.Errorf("cannot read %s=%s: %w", Variable, value, err)
	}
	p, err := Reopen([]int{a, b})
	if err != nil {
		return nil, err
	}
	return New(p), nil
}
