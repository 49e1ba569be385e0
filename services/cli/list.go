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
	}
	now := sample{services: r.Services, at: time.Now()}
	now.usages, _ = a.Client.Usages(ctx) // The services are printed without it too.
	switch {
	case len(r.Services) == 0:
		fmt.Fprintln(a.Out, "this image has no services")
	case len(names) == 1:
		return r.Code, a.one(ctx, now, r.Services[0])
	default:
		err = a.services(now)
	}
	if len(names) > 0 {
		return r.Code, errors.Join(err, a.sockets(r.Services))
	}
	a.showFailed(ctx)
	return r.Code, err
}

// showFailed prints the onboot containers that failed, and what followed.
func (a *App) showFailed(ctx context.Context) {
	events, _ := a.timeline(ctx) // The services are printed without it too.
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
func (a *App) services(now sample) error {
	t := table{titles("NAME", "STATE", ">PID", ">FOR", ">RESTARTS", ">MEMORY", ">CPU", "STATUS")}
	for _, s := range now.services {
		pid, use := "-", now.usage(s.Name)
		if s.PID > 0 {
			pid = fmt.Sprint(s.PID)
		}
		t.row(s.Name, cell{s.State, stateStyle(s.State)}, pid, since(s.Since, now.at), s.Restarts,
			bytesText(use.Memory), secondsText(use.CPUSeconds), cmp.Or(s.Status, s.Error, s.LastExit, s.Probe, "-"))
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
