package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keelson/runtime/programs"
	"keelson/services/control"
)

const (
	outcomeTime = 150 * time.Second // of a trial of programs: PID 1 ends it after 90 s
	outcomeWait = time.Second       // between two questions whether it has ended
)

// changePrograms swaps or rolls back keelson's own programs. The supervisor that has the order ends meanwhile, and
// its connection with it.
func (a *App) changePrograms(ctx context.Context, r control.Request) (int, error) {
	state, ended := a.Client.Programs, a.trialEnded
	if a.Machine != nil {
		state, ended = a.Machine.Programs, a.Machine.TrialEnded
	}
	before, err := state(ctx)
	if err != nil {
		return control.CodeFailed, a.explain(err)
	}
	begun := false
	r.Progress = func(text string) {
		begun = true
		fmt.Fprintf(a.Out, "programs: %s\n", text)
	}
	response, err := a.Client.Call(ctx, r)
	for _, line := range response.Plan {
		fmt.Fprintf(a.Out, "programs: %s\n", line)
	}
	switch {
	case err == nil && response.Error != "":
		return max(response.Code, control.CodeFailed), errors.New(response.Error)
	case err == nil && r.Plan:
		return control.CodeOK, nil
	case err != nil && !begun:
		return control.CodeFailed, a.explain(err)
	}
	ctx, cancel := context.WithTimeout(ctx, outcomeTime)
	defer cancel()
	err = ended(ctx)
	var now control.ProgramsState
	if err == nil {
		now, err = state(ctx)
	}
	if err != nil {
		return control.CodeFailed, fmt.Errorf("cannot find out how the trial of the programs ended: %w", err)
	}
	return a.printOutcome(before, now)
}

// printOutcome prints how a trial ended.
func (a *App) printOutcome(before, now control.ProgramsState) (int, error) {
	o := now.Outcome
	if o == nil || before.Outcome != nil && before.Outcome.At.Equal(o.At) {
		return control.CodeFailed, errors.New("the supervisor ended before the trial of the programs had begun")
	}
	target, old := short(o.Target), short(o.Old)
	if !o.Committed {
		return control.CodeFailed, fmt.Errorf("swap of the programs to %s failed: %s; %s is restored", target, o.Reason, old)
	}
	fmt.Fprintf(a.Out, "programs: swap to %s committed\n", target)
	if !now.Lasts {
		fmt.Fprintf(a.Out, "programs: %s is in memory: after a reboot the image's own programs run\n", programs.Dir)
	}
	return control.CodeOK, nil
}

// trialEnded waits until a system elsewhere has no programs on trial. Its supervisor may not answer meanwhile.
func (a *App) trialEnded(ctx context.Context) error {
	for {
		state, err := a.Client.Programs(ctx)
		if err == nil && !state.OnTrial {
			return nil
		}
		if stop := pause(ctx, outcomeWait); stop != nil {
			return errors.Join(stop, err)
		}
	}
}
