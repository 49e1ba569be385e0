package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"keelson/runtime/disk/plan"
	"keelson/runtime/uevent"
)

// maxSteps is more than any plan has.
const maxSteps = 64

// New returns the machine that the process runs on. Messages are written to out, one a line.
func New(out io.Writer) System {
	return System{Sys: "/sys", Dev: "/dev", run: execute,
		say: func(format string, args ...any) { fmt.Fprintf(out, "disk: "+format+"\n", args...) }}
}

// Run does all that is needed for what is wanted, and says what there is then. A device that is
// missing is waited for, as long as w says: from the time at which it is missed, not from the start,
// since formatting takes its time.
func (y System) Run(ctx context.Context, w plan.Want, o Options) error {
	d, err := y.steps(ctx, w, o)
	if err != nil {
		return err
	}
	label := ""
	if d.Content.Label != "" {
		label = fmt.Sprintf(", label %q", d.Content.Label)
	}
	switch {
	case w.Type == plan.Swap && w.Use:
		y.say("%s is in use as swap, %d MiB", d.Name, d.Size>>20)
	case w.Mount != "":
		y.say("%s (%s%s) is on %s", d.Name, d.Content.Type, label, w.Mount)
	default:
		y.say("%s contains %s%s", d.Name, d.Content.Type, label)
	}
	return nil
}

// steps does what plan.Next says until nothing is left, and returns the device with the result.
func (y System) steps(ctx context.Context, w plan.Want, o Options) (plan.Device, error) {
	if err := w.Validate(); err != nil {
		return plan.Device{}, err
	}
	window := window{limit: w.Wait}
	defer window.close()
	events, err := uevent.Listen()
	if err != nil {
		y.say("devices that appear late are not waited for: %v", err)
	} else {
		defer events.Close()
	}
	var did []plan.Action
	for len(did) < maxSteps {
		s, err := y.State(w)
		if err != nil {
			return plan.Device{}, err
		}
		a, err := plan.Next(w, s, did, uuid.NewString())
		if absent := (*plan.AbsentError)(nil); errors.As(err, &absent) {
			if window.ctx == nil {
				y.say("%v; waiting %v", err, w.Wait)
			}
			if waiting := window.open(ctx); events != nil && await(waiting, events, missing(w, s)) {
				continue
			}
			return plan.Device{}, fmt.Errorf("%w; waited %v", err, w.Wait)
		}
		if err != nil {
			return plan.Device{}, err
		}
		if a.Op == plan.None {
			d, err := plan.Found(w, s)
			if err != nil {
				return plan.Device{}, err
			}
			return *d, nil
		}
		if text := a.String(); text != "" {
			y.say("%s", text)
		}
		if err := y.apply(a, s, o); err != nil {
			if a.Op != plan.GrowPart && a.Op != plan.GrowFS {
				return plan.Device{}, fmt.Errorf("%s: %s: %w", a.Device, a.Op, err)
			}
			y.say("cannot %s on %s, which stays as it is: %v", a.Op, a.Device, err)
		}
		did = append(did, a)
		window.close()
	}
	return plan.Device{}, fmt.Errorf("no end after %d steps; the last was %+v", maxSteps, did[len(did)-1])
}

// Wait is how long Run waits for a device unless told otherwise.
const Wait = 15 * time.Second
