package containerd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestErrors(t *testing.T) {
	all := []error{ErrUnavailable, ErrNoKeyring, context.DeadlineExceeded, errNotFound, errExists}
	const keyring = "unable to join session keyring: unable to create session key: disk quota exceeded"
	for _, tt := range []struct {
		err  error
		want error // nil: none of them
	}{
		{status.Error(codes.Unavailable, "x"), ErrUnavailable},
		{status.Error(codes.Canceled, "grpc: the client connection is closing"), ErrUnavailable},
		{status.FromContextError(context.DeadlineExceeded).Err(), context.DeadlineExceeded},
		{context.DeadlineExceeded, context.DeadlineExceeded},
		{status.Error(codes.NotFound, "x"), errNotFound},
		{status.Error(codes.AlreadyExists, "x"), errExists},
		{status.Error(codes.Unknown, keyring), ErrNoKeyring},
		{status.Error(codes.Unknown, "x"), nil},
		{errors.New("x"), nil},
	} {
		err := fmt.Errorf("wrapped: %w", failed("cannot start task web", tt.err))
		for _, one := range all {
			if errors.Is(err, one) != (one == tt.want) {
				t.Errorf("%v: Is(%v) is %v", err, one, one != tt.want)
			}
		}
		if s, ok := status.FromError(err); ok {
			t.Errorf("%v carries a gRPC status: %v", err, s)
		}
	}
	if got, want := failed("cannot start task web", status.Error(codes.Unknown, "x")).Error(), "cannot start task web: x"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}
