package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"keelson/runtime/backoff"
	"keelson/services/control"
	"keelson/services/events"
)

// reconnectPause is how often a client tries to reach the next supervisor: no event says when
// that listens.
const reconnectPause = 200 * time.Millisecond

// showEvents prints events. With follow it prints those to come, also those of the next
// supervisor.
func showEvents(ctx context.Context, inv invocation) (int, error) {
	p := &eventPrinter{out: inv.out, json: inv.json}
	if err := p.from(inv.since, time.Now()); err != nil {
		return control.CodeUsage, err
	}
	return p.run(ctx, control.SocketPath, control.EventQuery{Follow: inv.follow, Services: inv.names})
}

// eventPrinter prints a stream of events.
type eventPrinter struct {
	out       io.Writer
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
	if p.since, err = time.Parse(time.RFC3339, since); err != nil {
		return fmt.Errorf("events: --since %q is no ID of an event, no time such as 2026-02-03T04:05:06Z and no duration such as 10m", since)
	}
	return nil
}

// run prints the streams of one supervisor, and with Follow of those after it, until ctx ends.
func (p *eventPrinter) run(ctx context.Context, socket string, q control.EventQuery) (int, error) {
	for begun := false; ; begun = true {
		q.After, p.connected = p.last, false
		err := control.Events(ctx, socket, q, p.show)
		switch {
		case ctx.Err() != nil && q.Follow:
			return control.CodeOK, nil
		case p.failed != nil:
			return control.CodeFailed, p.failed
		case !q.Follow || !begun && !p.connected:
			if err != nil {
				return control.CodeFailed, explain(err)
			}
			return control.CodeOK, nil
		}
		if p.connected {
			fmt.Fprintln(os.Stderr, "service: the supervisor has ended; waiting for the next one")
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
