package probe

import (
	"context"
	"errors"
	"fmt"

	"keelson/runtime/bundle"
)

// logCheck is good when a line matches; each is a beat.
func logCheck(p bundle.Probe, c Container) (check, error) {
	if c.Lines == nil {
		return check{}, errors.New("the service's output cannot be read")
	}
	beats := func(ctx context.Context, beat func()) error {
		err := c.Lines(ctx, func(line []byte) bool {
			if p.Pattern.Match(line) {
				beat()
			}
			return ctx.Err() != nil
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("log: %w", err)
		}
		return fmt.Errorf("log: no line matches %q", p.Target)
	}
	return check{beats: beats, wait: first(beats)}, nil
}

// first waits for the first beat.
func first(all beats) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		found := false
		err := all(ctx, func() { found = true; cancel() })
		if found {
			return nil
		}
		return err
	}
}
