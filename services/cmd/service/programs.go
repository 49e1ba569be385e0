package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/programs"
	"keelson/runtime/watch"
	"keelson/services/control"
	"keelson/services/versions"
)

// outcomeTime is how long a trial of programs may take: PID 1 ends it after 90 s.
const outcomeTime = 150 * time.Second

// changePrograms swaps or rolls back keelson's own programs. The supervisor that has the order
// ends meanwhile; how the trial ended is in a file.
func changePrograms(ctx context.Context, client *control.Client, out io.Writer, request control.Request) (int, error) {
	before, _ := os.Stat(programs.OutcomeFile)
	begun := false
	request.Progress = func(text string) {
		begun = true
		fmt.Fprintf(out, "programs: %s\n", text)
	}
	response, err := client.Call(ctx, request)
	for _, line := range response.Plan {
		fmt.Fprintf(out, "programs: %s\n", line)
	}
	switch {
	case err == nil && response.Error != "":
		return max(response.Code, control.CodeFailed), errors.New(response.Error)
	case err == nil && request.Plan:
		return control.CodeOK, nil
	case err != nil && !begun:
		return control.CodeFailed, err
	}
	ctx, cancel := context.WithTimeout(ctx, outcomeTime)
	defer cancel()
	return printOutcome(ctx, out, before)
}

// printOutcome waits until the trial of programs has ended, and prints how.
func printOutcome(ctx context.Context, out io.Writer, before fs.FileInfo) (int, error) {
	if err := waitForEnd(ctx, programs.TrialFile); err != nil {
		return control.CodeFailed, fmt.Errorf("cannot find out how the trial of the programs ended: %w", err)
	}
	outcome, known, err := programs.ReadOutcome(programs.State)
	now, _ := os.Stat(programs.OutcomeFile)
	switch {
	case err != nil:
		return control.CodeFailed, err
	case !known || before != nil && now != nil && os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()):
		return control.CodeFailed, errors.New("the supervisor ended before the trial of the programs had begun")
	}
	target, old := versions.Target(outcome.Target), versions.Target(outcome.Old)
	if !outcome.Committed {
		return control.CodeFailed, fmt.Errorf("swap of the programs to %s failed: %s; %s is restored", target, outcome.Reason, old)
	}
	fmt.Fprintf(out, "programs: swap to %s committed\n", target)
	if !versions.New(programs.Dir).Lasts() {
		fmt.Fprintf(out, "programs: %s is in memory: after a reboot the image's own programs run\n", programs.Dir)
	}
	return control.CodeOK, nil
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
