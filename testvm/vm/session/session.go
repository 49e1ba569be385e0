package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"keelson/runtime/timeline"
	"keelson/runtime/timeline/chart"
	"keelson/testvm/vm"
)

// Events until which an unattended machine runs.
const (
	UntilReady    = "ready"
	UntilShutdown = "shutdown"
)

// offDeadline bounds the time a guest takes to power itself down.
const offDeadline = 60 * time.Second

// Options of Run.
type Options struct {
	VM       vm.Config // its Output is set here
	Timeline string    // file to which the boot is drawn; empty: none
	Until    string    // ready, shutdown, or empty: interactive on a terminal, else ready
	Timeout  time.Duration
	Stdin    *os.File
	Stdout   io.Writer
}

// Run boots a machine and returns when it has ended. The end of ctx (ctrl-C) presses its
// power button.
func Run(ctx context.Context, o Options) error {
	interactive := o.Until == "" && isTerminal(o.Stdin) && isTerminal(o.Stdout)
	if o.Until == "" {
		o.Until = UntilReady
	}
	o.VM.Output = o.Stdout
	v, err := vm.Boot(ctx, o.VM)
	if err != nil {
		return err
	}
	defer v.Close()
	if interactive {
		err = attend(ctx, v, o)
	} else {
		err = unattended(ctx, v, o)
	}
	return errors.Join(err, draw(v.Timeline(), o.Timeline))
}

// draw draws a boot to a file, if one is named.
func draw(all []timeline.Event, file string) error {
	if file == "" {
		return nil
	}
	steps := timeline.Steps(all)
	if len(steps) == 0 {
		return fmt.Errorf("cannot draw the boot to %s: the console shows no steps", file)
	}
	if err := os.WriteFile(file, chart.Boot(steps), 0o644); err != nil {
		return fmt.Errorf("cannot draw the boot: %w", err)
	}
	return nil
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && file != nil && term.IsTerminal(int(file.Fd()))
}

func unattended(ctx context.Context, v *vm.VM, o Options) error {
	limited, cancel := context.WithTimeoutCause(ctx, o.Timeout, errTimeout(o.Timeout))
	defer cancel()
	if o.Until == UntilShutdown {
		return untilShutdown(ctx, limited, v, o)
	}
	ready, err := v.WaitStage(limited, timeline.Ready)
	if err != nil && ctx.Err() != nil {
		return errors.Join(errors.New("interrupted before the guest was ready"), powerOff(v))
	}
	if err != nil {
		return explain(limited, err)
	}
	fmt.Fprintln(o.Stdout)
	WriteTable(o.Stdout, v.Timeline())
	if !v.HasButton() {
		fmt.Fprintf(o.Stdout, "\n%s. The machine has no power button: switching it off.\n", ready.Result)
		return nil
	}
	fmt.Fprintf(o.Stdout, "\n%s. Powering off.\n\n", ready.Result)
	if err := powerOff(v); err != nil {
		return err
	}
	fmt.Fprintln(o.Stdout, "The guest has powered itself down.")
	return nil
}

// untilShutdown waits for the guest to power down, by itself or because of ctrl-C.
func untilShutdown(ctx, limited context.Context, v *vm.VM, o Options) error {
	exit, err := v.WaitExit(limited)
	switch {
	case err != nil && ctx.Err() != nil:
		return powerOff(v)
	case err != nil:
		return explain(limited, err)
	}
	fmt.Fprintln(o.Stdout)
	WriteTable(o.Stdout, v.Timeline())
	return wantPoweredDown(exit)
}

func wantPoweredDown(exit vm.Exit) error {
	if exit != vm.PoweredDown {
		return fmt.Errorf("the guest %s instead of powering down", exit)
	}
	return nil
}

// powerOff presses the power button and waits for the guest to power down. A second
// ctrl-C ends the wait.
func powerOff(v *vm.VM) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), offDeadline, errTimeout(offDeadline))
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return explain(ctx, v.PowerOff(ctx))
}

func errTimeout(d time.Duration) error {
	return fmt.Errorf("the limit of %s has expired", d)
}

// explain adds the cause of ctx's end to an error that results from it.
func explain(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w\n%w", err, context.Cause(ctx))
	}
	return err
}
