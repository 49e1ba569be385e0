package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

// list is the verb that lists all services.
func (a *App) list() Verb {
	var asJSON bool
	return Verb{
		Use: control.List, Group: Look, Short: "list all services, and the onboot containers that failed",
		Example: "list         # the same as without a command\nlist --json  # for programs",
		Flags:   func(f *pflag.FlagSet) { servicesJSON(f, &asJSON) },
		Run:     func(ctx context.Context, _ []string) (int, error) { return a.show(ctx, nil, asJSON) },
	}
}

// status is the verb that shows some services.
func (a *App) status() Verb {
	var asJSON bool
	return Verb{
		Use: "status NAME…", Group: Look, Short: "show services", Min: 1, Max: -1, Names: ServiceNames,
		Codes: []int{control.CodeNotRunning, control.CodeNotFound},
		Long:  "If several exit statuses apply, it is the one for a name that does not exist.",
		Example: "status redis                                   # what is known of it\n" +
			"status redis nginx                             # of two\n" +
			"status --json redis                            # for programs",
		Flags: func(f *pflag.FlagSet) { servicesJSON(f, &asJSON) },
		Run:   func(ctx context.Context, names []string) (int, error) { return a.show(ctx, names, asJSON) },
	}
}

func servicesJSON(f *pflag.FlagSet, asJSON *bool) {
	f.BoolVar(asJSON, "json", false, "print an array of Service (docs/api.yaml)")
}

// show prints services, all or those named.
func (a *App) show(ctx context.Context, names []string, asJSON bool) (int, error) {
	r, err := a.Client.Call(ctx, control.Request{Verb: control.List, Names: names})
	switch {
	case err != nil:
		return control.CodeFailed, a.explain(err)
	case r.Error != "":
		return a.failed(ctx, r, names)
	case asJSON:
		return r.Code, a.printJSON(append([]control.Service{}, r.Services...))
	case len(r.Services) == 0:
		fmt.Fprintln(a.Out, "this image has no services")
	default:
		err = a.services(r.Services, time.Now())
	}
	if len(names) > 0 {
		return r.Code, errors.Join(err, a.sockets(r.Services))
	}
	a.showFailed()
	return r.Code, err
}

// showFailed prints the onboot containers that failed, and what followed.
func (a *App) showFailed() {
	if a.Machine == nil {
		return
	}
	events, _ := a.Machine.Timeline() // The services are printed without it too.
	for i, e := range failedOnboot(events) {
		if i == 0 {
			fmt.Fprintln(a.Out)
		}
		_, text, _ := strings.Cut(e.String(), "] ")
		fmt.Fprintln(a.Out, text)
	}
}

// failedOnboot returns the last attempts of the containers that never succeeded.
func failedOnboot(events []timeline.Event) []timeline.Event {
	var failed []timeline.Event
	for _, e := range events {
		if e.Stage != timeline.Onboot || e.Note == "" {
			continue
		}
		failed = slices.DeleteFunc(failed, func(f timeline.Event) bool { return f.Name == e.Name })
		if e.Result != succeeded {
			failed = append(failed, e)
		}
	}
	return failed
}

// succeeded is the result of a container that succeeded.
const succeeded = "exited 0"

func (a *App) printJSON(v any) error { return PrintJSON(a.Out, v) }

// PrintJSON prints a value as JSON, as --json asks for it.
func PrintJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// services prints a table of services.
func (a *App) services(services []control.Service, now time.Time) error {
	t := table{{plain("NAME"), plain("STATE"), plain("PID"), plain("FOR"), plain("RESTARTS"), plain("STATUS")}}
	for _, s := range services {
		pid, status := "-", cmp.Or(s.Status, s.Error, s.LastExit, "-")
		if s.PID > 0 {
			pid = fmt.Sprint(s.PID)
		}
		t.row(s.Name, cell{s.State, stateStyle(s.State)}, pid, since(s.Since, now), fmt.Sprint(s.Restarts), status)
	}
	return a.print(t)
}

// sockets prints the sockets that are kept for services.
func (a *App) sockets(services []control.Service) error {
	var errs []error
	for _, s := range services {
		if len(s.Sockets) > 0 {
			_, err := fmt.Fprintf(a.Out, "%s: sockets %s\n", s.Name, strings.Join(s.Sockets, " "))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// since returns how long ago t was, short enough for a column.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	switch d := max(now.Sub(t), 0); {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return d.Round(time.Minute).String()
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// boot is the verb that prints the timeline, which PID 1, the boot role and the supervisor write.
func (a *App) boot() Verb {
	var asJSON bool
	return Verb{
		Use: "boot", Group: Look, Short: "print the timeline of the boot",
		Example: "boot         # each step with its time since the start of the kernel\nboot --json  # for programs",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print an array of objects: at, took (nanoseconds), stage, name, result, note")
		},
		Run: func(_ context.Context, _ []string) (int, error) {
			events, err := a.Machine.Timeline()
			if err != nil {
				return control.CodeFailed, err
			}
			if asJSON {
				return control.CodeOK, a.printJSON(events)
			}
			return control.CodeOK, a.timeline(events)
		},
	}
}

func (a *App) timeline(events []timeline.Event) error {
	t := table{{plain("AT"), plain("TOOK"), plain("STAGE"), plain("NAME"), plain("RESULT")}}
	for _, e := range events {
		took := "-"
		if e.Took > 0 {
			took = fmt.Sprintf("%.3fs", e.Took.Seconds())
		}
		t.row(fmt.Sprintf("%.3fs", e.At.Seconds()), took, e.Stage, cmp.Or(e.Name, "-"), e.Outcome())
	}
	return a.print(t)
}
