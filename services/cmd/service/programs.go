package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"keelson/runtime/programs"
	"keelson/runtime/watch"
	"keelson/services/control"
	"keelson/services/versions"
)

// programsState returns the state of keelson's own programs.
func programsState() (s control.ProgramsState, err error) {
	s.Lasts = versions.New(programs.Dir).Lasts()
	if _, err := os.Stat(programs.TrialFile); err == nil {
		s.OnTrial = true
	}
	o, known, err := programs.ReadOutcome(programs.State)
	if err != nil || !known {
		return s, err
	}
	info, err := os.Stat(programs.OutcomeFile)
	if err == nil {
		s.Outcome = &control.Outcome{At: info.ModTime().UTC(), Target: versions.Target(o.Target).Text(), Old: versions.Target(o.Old).Text(), Committed: o.Committed, Reason: o.Reason}
	}
	return s, err
}

// waitForEnd waits until a file does not exist.
func waitForEnd(ctx context.Context, path string) error {
	for {
		events, err := watch.New()
		if err != nil {
			return err
		}
		err = events.Add(path, unix.IN_DELETE_SELF|unix.IN_ATTRIB) // Its removal changes the number of its links.
		if err == nil {
			stop := context.AfterFunc(ctx, func() { events.Close() })
			_, err = events.Read(make([]byte, 4096))
			stop()
		}
		events.Close()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
	}
}
