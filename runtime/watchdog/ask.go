package watchdog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
)

// alive is the answer of a supervisor to whom nothing is wrong.
const alive = "alive"

// answerLimit bounds an answer, in bytes.
const answerLimit = 512

// ErrNoAnswer is returned by Ask when the supervisor does not answer in time, or at all.
var ErrNoAnswer = errors.New("the supervisor does not answer")

// Ask asks the supervisor at a socket whether it works, and waits for the answer for at
// most limit. An error is ErrNoAnswer or what the supervisor says is wrong.
func Ask(socket string, limit time.Duration) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot ask the supervisor: %w", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(limit.Nanoseconds())
	// The timeout for sending is also that of connect(2), which waits while the queue of
	// the listener is full.
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &wait); err != nil {
			return fmt.Errorf("cannot ask the supervisor: %w", err)
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	answer := make([]byte, answerLimit)
	n, err := unix.Read(fd, answer)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w within %v", ErrNoAnswer, limit)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case n == 0:
		return fmt.Errorf("%w: it closes the connection", ErrNoAnswer)
	case string(answer[:n]) != alive:
		return errors.New(string(answer[:n]))
	}
	return nil
}

// Answer answers at a socket until ctx ends: what check returns, one question after the
// other. The socket of an earlier process is replaced.
func Answer(ctx context.Context, socket string, check func() error) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot replace %s: %w", socket, err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", socket, err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		return fmt.Errorf("cannot protect %s: %w", socket, err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	answerAll(ctx, l.Accept, check)
	return nil
}

// acceptPause is the pause after a connection that could not be accepted.
const acceptPause = time.Second

// answerAll answers until ctx ends. A lack of file descriptors or memory passes: it must not end
// the answers, after which the machine would be reset.
func answerAll(ctx context.Context, accept func() (net.Conn, error), check func() error) {
	for ctx.Err() == nil {
		c, err := accept()
		if err != nil {
			backoff.Wait(ctx, acceptPause)
			continue
		}
		answer := alive
		if err := check(); err != nil {
			answer = err.Error()
		}
		_, _ = c.Write([]byte(answer[:min(len(answer), answerLimit)])) // The other side may have given up.
		_ = c.Close()
	}
}
