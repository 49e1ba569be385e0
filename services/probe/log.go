package probe

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// logCheck is good when a line matches; each is a beat.
func logCheck(target string, c Container) (check, error) {
	pattern, err := regexp.Compile(target)
	if err != nil {
		return check{}, err
	}
	if c.Lines == nil {
		return check{}, errors.New("the service's output cannot be read")
	}
	beats := func(ctx context.Context, beat func()) error {
		err := c.Lines(ctx, func(line []byte) bool {
			if pattern.Match(line) {
				beat()
			}
			return ctx.Err() != nil
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("log: %w", err)
		}
		return fmt.Errorf("log: no line matches %q", target)
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
