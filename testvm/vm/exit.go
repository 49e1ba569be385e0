package vm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Exit is the way in which a guest ended.
type Exit string

// The ways to end. Panicked and Hung come with an error.
const (
	PoweredDown Exit = "powered down"
	Rebooted    Exit = "rebooted"
	Halted      Exit = "halted"
	Panicked    Exit = "panicked"
	Hung        Exit = "hung"
	Broken      Exit = "broken" // QEMU itself failed or was killed
)

// Lines that the kernel prints last.
const (
	haltMark    = "reboot: System halted"
	powerMark   = "reboot: Power down"
	restartMark = "reboot: Restarting system"
)

// panicEnd is the last line of a panic's report.
var panicEnd = regexp.MustCompile(`(end Kernel panic|Rebooting in).*\n`)

// panicGrace bounds the wait for the end of a panic's report.
const panicGrace = 3 * time.Second

// FailureLines is the number of console lines in a Failure.
const FailureLines = 40

// Failure is returned when a guest does not do what is expected.
type Failure struct {
	What    string // the operation, as in "cannot WHAT"
	Err     error
	Console []string // its last lines
}

func (f *Failure) Error() string {
	return fmt.Sprintf("cannot %s: %v\nlast lines of the guest's console:\n    %s",
		f.What, f.Err, strings.Join(f.Console, "\n    "))
}

func (f *Failure) Unwrap() error { return f.Err }

func (v *VM) failure(what string, err error) error {
	if errors.Is(err, ErrPanic) {
		v.panicReport()
	}
	return &Failure{What: what, Err: err, Console: v.Tail(FailureLines)}
}

// panicReport waits until the kernel has finished the report of its panic.
func (v *VM) panicReport() {
	ctx, cancel := context.WithTimeout(context.Background(), panicGrace)
	defer cancel()
	offset := strings.Index(v.Console(), panicMark)
	for {
		text, changed := v.console.after(max(0, offset))
		if panicEnd.MatchString(text) {
			return
		}
		select {
		case <-changed:
		case <-v.console.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (v *VM) waitLine(ctx context.Context, what string, match matcher) (string, error) {
	line, err := v.console.wait(ctx, match)
	if err != nil {
		return "", v.failure("see "+what, err)
	}
	return line, nil
}

// WaitExit waits for the guest to end and returns how it ended.
func (v *VM) WaitExit(ctx context.Context) (Exit, error) {
	_, err := v.console.wait(ctx, func(line string, _ bool) (bool, error) {
		return strings.Contains(line, haltMark), nil
	})
	switch {
	case err == nil:
		v.machine.Kill() // a halted machine stays on
		return Halted, nil
	case errors.Is(err, ErrPanic):
		return Panicked, v.failure("see the guest end", err)
	case !errors.Is(err, ErrEnded):
		return Hung, v.failure("see the guest end", err)
	}
	<-v.machine.Done()
	<-v.machine.QMP.Done() // the last event contains the reason
	return v.ended()
}

// ended returns why a machine has ended without a panic.
func (v *VM) ended() (Exit, error) {
	console := v.Console()
	switch reason := v.machine.ShutdownReason(); {
	case reason == "guest-shutdown", reason == "" && strings.Contains(console, powerMark):
		return PoweredDown, nil
	case reason == "guest-reset", reason == "" && strings.Contains(console, restartMark):
		return Rebooted, nil
	case reason == "guest-panic":
		return Panicked, v.failure("see the guest end", ErrPanic)
	default:
		err := v.machine.Err()
		if err == nil {
			err = fmt.Errorf("QEMU gave the reason %q", reason)
		}
		return Broken, v.failure("see the guest end", err)
	}
}

// PowerButton presses the power button.
func (v *VM) PowerButton(ctx context.Context) error {
	if err := v.machine.Powerdown(ctx); err != nil {
		return v.failure("press the power button", err)
	}
	return nil
}

// pressAgain is the time between two presses of the button.
const pressAgain = 5 * time.Second

// PowerOff presses the power button and waits until the guest has powered itself down;
// any other end is a failure. A press is not acknowledged, and a guest that has not
// opened the button yet misses it, so the button is pressed repeatedly.
func (v *VM) PowerOff(ctx context.Context) error {
	if err := v.PowerButton(ctx); err != nil {
		return err
	}
	pressing, stop := context.WithCancel(ctx)
	defer stop()
	go v.keepPressing(pressing)
	exit, err := v.WaitExit(ctx)
	if err != nil {
		return err
	}
	if exit != PoweredDown {
		return v.failure("power the guest off", fmt.Errorf("the guest %s", exit))
	}
	return nil
}

func (v *VM) keepPressing(ctx context.Context) {
	tick := time.NewTicker(pressAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = v.PowerButton(ctx) // the machine may just have ended
		case <-v.machine.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// ConsoleArgs adds a console on a device to a command line that has none.
func ConsoleArgs(cmdline, device string) string {
	for word := range strings.FieldsSeq(cmdline) {
		if strings.HasPrefix(word, "console=") {
			return cmdline
		}
	}
	return strings.TrimSpace(cmdline + " console=" + device)
}
