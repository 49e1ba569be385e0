package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"keelson/runtime/timeline"
	"keelson/runtime/version"
	"keelson/services/control"
)

// list prints the services, all or those named.
func list(ctx context.Context, inv invocation) (int, error) {
	r, err := control.Call(ctx, control.SocketPath, control.Request{Verb: control.List, Names: inv.names})
	if err != nil {
		return control.CodeFailed, explain(err)
	}
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	if inv.json {
		return r.Code, errors.Join(err, printJSON(inv, r.Services))
	}
	if len(r.Services) > 0 {
		err = errors.Join(err, table(inv, r.Services, time.Now()), showSockets(inv, r.Services))
	}
	if len(r.Services) == 0 && err == nil {
		fmt.Fprintln(inv.out, "this image has no services")
	}
	if len(inv.names) == 0 {
		showFailed(inv)
	}
	return r.Code, err
}

// showFailed prints the onboot containers that failed, and what followed.
func showFailed(inv invocation) {
	events, _ := timeline.Read(timeline.Path) // The services are printed without it too.
	for i, e := range failedOnboot(events) {
		if i == 0 {
			fmt.Fprintln(inv.out)
		}
		_, text, _ := strings.Cut(e.String(), "] ")
		fmt.Fprintln(inv.out, text)
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

func printJSON(inv invocation, v any) error {
	e := json.NewEncoder(inv.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func table(inv invocation, services []control.Service, now time.Time) error {
	w := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tPID\tFOR\tRESTARTS\tSTATUS")
	for _, s := range services {
		pid, status := "-", cmp.Or(s.Status, s.Error, s.LastExit, "-")
		if s.PID > 0 {
			pid = fmt.Sprint(s.PID)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", s.Name, s.State, pid, since(s.Since, now), s.Restarts, status)
	}
	return w.Flush()
}

// showSockets prints the sockets that are kept for the named services.
func showSockets(inv invocation, services []control.Service) error {
	var errs []error
	for _, s := range services {
		if len(inv.names) > 0 && len(s.Sockets) > 0 {
			_, err := fmt.Fprintf(inv.out, "%s: sockets %s\n", s.Name, strings.Join(s.Sockets, " "))
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

// boot prints the timeline, which PID 1, the boot role and the supervisor write.
func boot(_ context.Context, inv invocation) (int, error) {
	events, err := timeline.Read(timeline.Path)
	if err != nil {
		return control.CodeFailed, err
	}
	if inv.json {
		return control.CodeOK, printJSON(inv, events)
	}
	w := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tTOOK\tSTAGE\tNAME\tRESULT")
	for _, e := range events {
		took := "-"
		if e.Took > 0 {
			took = fmt.Sprintf("%.3fs", e.Took.Seconds())
		}
		fmt.Fprintf(w, "%.3fs\t%s\t%s\t%s\t%s\n", e.At.Seconds(), took, e.Stage, cmp.Or(e.Name, "-"), e.Outcome())
	}
	return control.CodeOK, w.Flush()
}

func showVersion(_ context.Context, inv invocation) (int, error) {
	_, err := fmt.Fprintln(inv.out, version.Line("service"))
	return control.CodeOK, err
}
