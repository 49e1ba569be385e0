package containerd

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"keelson/runtime/keyring"
)

// Errors of calls, for errors.Is. A call that took longer than its context allowed
// fails with context.DeadlineExceeded.
var (
	// ErrUnavailable is returned when containerd could not be asked, or did not
	// answer because the connection was closed.
	ErrUnavailable = errors.New("containerd is not reachable")
	// ErrNoKeyring is returned by Create when the kernel has no key left for a
	// session keyring.
	ErrNoKeyring = errors.New("no session keyring")

	errNotFound = errors.New("not found")
	errExists   = errors.New("already exists")
)

// Unavailable reports whether a call failed with ErrUnavailable.
func Unavailable(err error) bool { return errors.Is(err, ErrUnavailable) }

// TimedOut reports whether a call failed because its time was over.
func TimedOut(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// callError is the error of a call. It has containerd's message without gRPC's
// wrapping, and none of gRPC's types.
type callError struct {
	what    string // such as "cannot start task web"
	message string // containerd's, the shim's or the runtime's
	kind    error  // an error above; nil: another one
}

func (e *callError) Error() string { return e.what + ": " + e.message }
func (e *callError) Unwrap() error { return e.kind }

// failed returns the error of a call that err, which gRPC returned, describes.
func failed(what string, err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &callError{what: what, message: s.Message(), kind: kindOf(s)}
}

func kindOf(s *status.Status) error {
	switch s.Code() {
	case codes.Unavailable, codes.Canceled: // Canceled: the connection was closed during the call.
		return ErrUnavailable
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.NotFound:
		return errNotFound
	case codes.AlreadyExists:
		return errExists
	}
	if keyring.Exhausted(s.Message()) {
		return ErrNoKeyring
	}
	return nil
}

// notFound reports whether err, which gRPC returned, means that containerd does not
// know what the call names.
func notFound(err error) bool { return status.Code(err) == codes.NotFound }
