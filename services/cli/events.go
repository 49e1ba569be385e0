package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/backoff"
	"keelson/runtime/logs/reader"
	"keelson/services/control"
	"keelson/services/events"
)

// reconnectPause is how often a client tries to reach the next supervisor: no event says when
// that listens.
const reconnectPause = 200 * time.Millisecond

// events is the verb that prints events. With -f it prints those to come, also those of the next
// supervisor.
func (a *App) events() Verb {
	var asJSON, follow bool
	var since string
	return Verb{
		Use: "events [NAME…]", Group: Look, Short: "print what happened to services and to the system", Max: -1, Names: ServiceNames,
		Long: "Events have numbers: a reader that continues after one misses none that is kept, and is told\nof a gap. docs/events.md describes them.",
		Example: "events                # what is kept, the oldest first\n" +
			"events -f redis       # follow what happens to redis\n" +
			"events --since 10m    # of the last ten minutes\n" +
			"events --json         # one JSON object per line, for programs",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&follow, "follow", "f", false, "continue with events to come")
			f.StringVar(&since, "since", "", "only events since `WHEN`: a duration before now, a time as for logs, or an event's ID")
			f.BoolVar(&asJSON, "json", false, "print each event as a line of JSON (schemas Event and Gap of docs/api.yaml)")
		},
		Run: func(ctx context.Context, names []string) (int, error) {
			p := &eventPrinter{out: a.Out, err: a.Err, json: asJSON}
			if err := p.from(since, time.Now()); err != nil {
				return control.CodeUsage, err
			}
			code, err := p.run(ctx, a.Client, control.EventQuery{Follow: follow, Services: names})
			return code, a.explain(err)
		},
	}
}

// eventPrinter prints a stream of events.
type eventPrinter struct {
	out, err  io.Writer
	json      bool
	since     time.Time // earlier events are left out
	last      events.ID // the last event of the stream
	connected bool
	failed    error // of what it prints
}

// from reads --since: an ID, a time, or a duration before now.
func (p *eventPrinter) from(since string, now time.Time) (err error) {
	if since == "" {
		return nil
	}
	if p.last, err = events.ParseID(since); err == nil {
		return nil
	}
	if d, err := time.ParseDuration(since); err == nil && d >= 0 {
		p.since = now.Add(-d)
		return nil
	}
	if p.since, err = reader.ParseTime(since, now); err != nil {
		return fmt.Errorf("events: --since: %w, or an event's ID, or a duration such as 10m", err)
	}
	return nil
}

// run prints the streams of one supervisor, and with Follow of those after it, until ctx ends.
func (p *eventPrinter) run(ctx context.Context, client *control.Client, q control.EventQuery) (int, error) {
	for begun := false; ; begun = true {
		q.After, p.connected = p.last, false
		err := client.Events(ctx, q, p.show)
		switch {
		case ctx.Err() != nil && q.Follow:
			return control.CodeOK, nil
		case p.failed != nil:
			return control.CodeFailed, p.failed
		case !q.Follow || !begun && !p.connected:
			if err != nil {
				return control.CodeFailed, err
			}
			return control.CodeOK, nil
		}
		if p.connected {
			fmt.Fprintln(p.err, "the supervisor has ended; waiting for the next one")
		}
		if !backoff.Wait(ctx, reconnectPause) {
			return control.CodeOK, nil
		}
	}
}

// show prints a message of the stream.
func (p *eventPrinter) show(id string, kind events.Kind, data string) error {
	p.connected = true
	if at, err := events.ParseID(id); err == nil {
		p.last = at
	}
	if data == "" {
		return nil
	}
	line, err := p.line(kind, data)
	if err == nil && line != "" {
		_, err = fmt.Fprintln(p.out, line)
	}
	p.failed = err
	return err
}

// line returns what is printed of an event or a gap; empty: nothing.
func (p *eventPrinter) line(kind events.Kind, data string) (string, error) {
	var e events.Event
	var gap events.Gap
	var err error
	if kind == events.KindGap {
		err = json.Unmarshal([]byte(data), &gap)
	} else if err = json.Unmarshal([]byte(data), &e); err == nil && e.Time.Before(p.since) {
		return "", nil
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read an event: %w", err)
	case p.json:
		return data, nil
	case kind == events.KindGap:
		return "gap: " + gap.String(), nil
	}
	return e.String(), nil
}
