package cli

import (
	"context"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/events"
)

// serveEvents serves a journal until the function returned is called.
func serveEvents(t *testing.T, socket string, journal *events.Journal) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := &control.Server{More: []control.Route{control.EventsRoute(journal)}}
	go func() { done <- server.Serve(ctx, socket) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func openJournalIn(dir string) *events.Journal {
	return events.Open(events.Options{Dir: dir, Boot: 0xa, Now: func() time.Duration { return 0 }})
}

// lines receives what is printed.
type lines chan string

func (l lines) Write(text []byte) (int, error) {
	l <- string(text)
	return len(text), nil
}

var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z `)

// want compares the next line, without its time.
func (l lines) want(t *testing.T, want string) {
	t.Helper()
	if got := stamp.ReplaceAllString(<-l, ""); got != want+"\n" {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// A client that follows events continues with those of the next supervisor: it prints each once,
// and says which are missing.
func TestEventsOfNextSupervisor(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	journal := openJournalIn(dir)
	journal.Append(events.Event{Kind: events.Service, Name: "a", To: "running"})
	end := serveEvents(t, socket, journal)
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(lines), make(chan error, 1)
	go func() {
		code, err := 0, error(nil)
		for connected := false; !connected; { // It may not listen yet.
			p := &eventPrinter{out: out, err: io.Discard}
			code, err = p.run(ctx, control.Unix(socket), control.EventQuery{Follow: true, Services: []string{"a"}})
			connected = !p.last.IsZero()
		}
		if code != 0 {
			t.Errorf("exit status %d", code)
		}
		done <- err
	}()
	out.want(t, "service a: running")
	journal.Append(events.Event{Kind: events.Service, Name: "b", To: "running"})
	journal.Append(events.Event{Kind: events.Service, Name: "a", From: "running", To: "stopping"})
	out.want(t, "service a: running -> stopping")
	end()

	journal = openJournalIn(dir) // The supervisor before was killed: it has closed nothing.
	journal.Append(events.Event{Kind: events.Service, Name: "a", To: "failed"})
	end = serveEvents(t, socket, journal)
	out.want(t, "service a: failed")
	end()

	journal = openJournalIn(dir)
	for range 2 * events.CountLimit {
		journal.Append(events.Event{Kind: events.Service, Name: "b"})
	}
	journal.Append(events.Event{Kind: events.Service, Name: "a", To: "running"})
	end = serveEvents(t, socket, journal)
	out.want(t, "gap: the 1025 events between 0000000a.4 and 0000000a.1030 are not kept any more")
	out.want(t, "service a: running")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	end()
}

func TestEventsSince(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	hour := time.Date(2026, 2, 3, 4, 0, 0, 0, time.UTC)
	wall := hour
	journal := events.Open(events.Options{Boot: 0xa, Now: func() time.Duration { return 0 }, Wall: func() time.Time { return wall }})
	for _, name := range []string{"a", "b", "c"} {
		journal.Append(events.Event{Kind: events.Service, Name: name})
		wall = wall.Add(time.Hour)
	}
	defer serveEvents(t, socket, journal)()
	now := hour.Add(2*time.Hour + time.Minute)
	for since, want := range map[string]string{
		"": "abc", "0000000a.1": "bc", "90m": "bc", "2026-02-03T05:30:00Z": "c", "2026-02-03T05:30:00+01:00": "bc", "0s": "",
		"yesterday": "abc", "-90m": "bc", "someday": "--since", "0000000a.x": "--since",
	} {
		var out strings.Builder
		p := &eventPrinter{err: io.Discard, out: &out, json: true}
		err := p.from(since, now)
		for connected := false; err == nil && !connected; { // It may not listen yet.
			_, err = p.run(t.Context(), control.Unix(socket), control.EventQuery{})
			if connected = p.connected; !connected {
				err = nil
			}
		}
		got := strings.Join(regexp.MustCompile(`"name":"(.)"`).FindAllString(out.String(), -1), "")
		got = strings.NewReplacer(`"name":"`, "", `"`, "").Replace(got)
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != want || err != nil && (want != "--since" || !strings.Contains(got, want)) {
			t.Errorf("%s: %s, want %s", since, got, want)
		}
	}
}

// What cannot be printed ends the command.
func TestEventsCannotBePrinted(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	journal := openJournalIn(dir)
	journal.Append(events.Event{Kind: events.Service, Name: "a"})
	defer serveEvents(t, socket, journal)()
	r, w := io.Pipe()
	r.Close()
	for p := (&eventPrinter{out: w}); !p.connected; {
		if code, err := p.run(t.Context(), control.Unix(socket), control.EventQuery{Follow: true}); p.connected && (code != control.CodeFailed || err == nil) {
			t.Errorf("exit status %d, %v", code, err)
		}
	}
}
