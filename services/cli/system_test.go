package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/services/events"
)

// system answers requests with what it has, and remembers them.
type system struct {
	services []control.Service
	requests []control.Request
	response control.Response // of other requests than List
	asked    int              // how often for the state of programs
}

func (s *system) Control(_ context.Context, r control.Request) control.Response {
	if r.Body != nil {
		text, _ := io.ReadAll(r.Body)
		r.Body = bytes.NewReader(text)
	}
	s.requests = append(s.requests, r)
	if r.Verb != control.List && s.response.Error != "" {
		return s.response
	}
	var found []control.Service
	for _, service := range s.services {
		if len(r.Names) == 0 || strings.Contains(" "+strings.Join(r.Names, " ")+" ", " "+service.Name+" ") {
			found = append(found, service)
		}
	}
	if len(found) < len(r.Names) && r.Verb != control.Swap {
		return control.Response{Code: control.CodeNotFound, Error: "no such service: " + strings.Join(r.Names, ", ")}
	}
	if r.Verb != control.List {
		return s.response
	}
	return control.Response{Services: found}
}

func number(n float64) *float64 { return &n }

// sources and history are what the server knows of redis.
var (
	sources = control.Sources{
		Usages: func() (control.Usages, error) {
			return control.Usages{At: 90 * time.Second, CPUs: 2, Services: []control.Usage{
				{Name: "redis", CPUSeconds: number(1.5), Memory: number(3 << 20), MemoryPeak: number(4 << 20), MemoryLimit: number(64 << 20), Processes: number(5)},
			}}, nil
		},
		Boot: func() (control.Boot, error) { return control.Boot{Events: booted}, nil },
		Inspect: func(name string) (control.Inspection, error) {
			if name != "redis" {
				return control.Inspection{}, fmt.Errorf("%w: %s", control.ErrNotFound, name)
			}
			settings := map[string]string{"keelson.restart": "always", "keelson.restart.delay": "100ms", "keelson.restart.max-delay": "30s", "keelson.stop.signal": "SIGTERM",
				"keelson.stop.timeout": "10s", "keelson.ready": "tcp:6379"}
			return control.Inspection{Name: name, Bundle: "/containers/services/redis", Effective: true, Settings: settings, Config: map[string]any{
				"mounts": []any{map[string]any{"destination": "/proc", "type": "proc"}, map[string]any{"destination": "/tmp", "source": "tmpfs", "options": []any{"ro"}}},
				"linux":  map[string]any{"resources": map[string]any{"cpu": map[string]any{"quota": 50000, "shares": json.Number("18446744073709551615")}}},
			}}, nil
		},
	}
	history = []events.Event{
		{Kind: events.Service, Name: "redis", From: "starting", To: "running", PID: 5},
		{Kind: events.Service, Name: "redis", From: "running", To: "backoff", PID: 5, Exit: &events.Exit{Code: 3}},
		{Kind: events.Service, Name: "redis", From: "starting", To: "backoff", Text: "no such file"},
		{Kind: events.Service, Name: "redis", From: "starting", To: "running", PID: 7},
	}
	booted = []timeline.Event{
		{At: 400 * time.Millisecond, Stage: timeline.Kernel, Result: "keelson"},
		{At: 900 * time.Millisecond, Stage: timeline.Onboot, Name: "000-a", Took: 500 * time.Millisecond, Result: "exited 0"},
		{At: time.Second, Stage: timeline.Service, Name: "redis", Took: 100 * time.Millisecond, Result: "running"},
		{At: time.Second, Stage: timeline.Ready, Result: "1 service running"},
	}
)

// serve returns a client of a server of the control API.
func serve(t testing.TB, h control.Handler) *control.Client { return serveWith(t, h, sources) }

func serveWith(t testing.TB, h control.Handler, sources control.Sources) *control.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	journal := events.Open(events.Options{Boot: 0xa})
	for _, e := range history {
		journal.Append(e)
	}
	server := &control.Server{Handler: h, More: append(sources.Routes(), control.EventsRoute(journal))}
	go func() { done <- server.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for { // It may not listen yet.
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return control.Unix(socket)
		}
	}
}

// local is the command line of a machine.
func local(t *testing.T, s *system) (app *App, out, diag *bytes.Buffer) {
	t.Helper()
	out, diag = &bytes.Buffer{}, &bytes.Buffer{}
	app = &App{Name: "service", Client: serve(t, s), In: strings.NewReader("artifact"), Out: out, Err: diag}
	app.Machine = &Machine{
		SameBundle: func(dir, name string) error {
			if dir != "/containers/services" {
				return errors.New("another folder")
			}
			return nil
		},
		Timeline: func() ([]timeline.Event, error) { return booted, nil },
		Programs: func(context.Context) (control.ProgramsState, error) {
			s.asked++
			return control.ProgramsState{Lasts: true, Outcome: &control.Outcome{At: time.Unix(int64(s.asked), 0), Target: "image", Committed: true}}, nil
		},
		TrialEnded: func(context.Context) error { return nil },
	}
	return app, out, diag
}

func appFor(t *testing.T, services []control.Service) (app *App, out, diag *bytes.Buffer) {
	t.Helper()
	return local(t, &system{services: services})
}
