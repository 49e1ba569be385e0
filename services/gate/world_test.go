package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/gate"
	"keelson/services/gate/keys"
)

// world is a supervisor's API behind a gate.
type world struct {
	keys      string // folder of the authority
	authority *keys.Authority
	address   string
	socket    string
	journal   *events.Journal
	log       *buffer
}

// buffer is a log that is read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

type handler func(context.Context, control.Request) control.Response

func (h handler) Control(ctx context.Context, r control.Request) control.Response { return h(ctx, r) }

// newWorld starts both, with clients rita, olga and anna, who are reader, operator and admin.
func newWorld(t testing.TB, h handler, more ...control.Route) *world {
	t.Helper()
	w := &world{keys: t.TempDir(), log: &buffer{}}
	var err error
	if w.authority, err = keys.Init(w.keys); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(w.authority.Server(nil, time.Hour),
		w.authority.Client("rita", control.Reader, time.Hour, ""),
		w.authority.Client("olga", control.Operator, time.Hour, ""),
		w.authority.Client("anna", control.Admin, time.Hour, ""))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "gate")
	if err := control.PrepareGate(dir); err != nil {
		t.Fatal(err)
	}
	w.journal = events.Open(events.Options{Dir: t.TempDir()})
	server := &control.Server{Handler: h, More: append(more, control.EventsRoute(w.journal))}
	socket := filepath.Join(dir, "control.sock")
	start(t, func(ctx context.Context) error { return server.ServeGate(ctx, socket) })
	for !dialable("unix", socket) {
		time.Sleep(time.Millisecond)
	}
	w.socket = socket
	w.address = w.serve(t, socket)
	return w
}

// serve starts a gate in front of a socket, and returns its address.
func (w *world) serve(t testing.TB, socket string) string {
	t.Helper()
	l, err := gate.Listen("tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.gate(t, socket, l)
	return l.Addr().String()
}

func (w *world) gate(t testing.TB, socket string, l net.Listener) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	credentials, err := gate.LoadCredentials(w.authority.Dir(), logger)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate.Gate{Credentials: credentials, Socket: socket, Logger: logger}
	start(t, func(ctx context.Context) error { return g.Serve(ctx, l) })
}

// start runs f until the end of the test.
func start(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func dialable(network, address string) bool {
	conn, err := net.Dial(network, address)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// config returns the configuration of a client's connections.
func (w *world) config(t testing.TB, name string) *tls.Config {
	t.Helper()
	return configOf(t, keys.FilesOf(w.keys, name))
}

func configOf(t testing.TB, f keys.Files) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	c.RootCAs.AppendCertsFromPEM(text)
	if f.Cert == "" {
		return c
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c
}

// client returns an HTTP client that connects once for each request.
func client(c *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}}
}

// do sends a request, and returns status and body.
func do(t testing.TB, c *http.Client, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	answer, err := c.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	if answer.StatusCode >= 400 {
		var p struct{ Status int }
		if json.Unmarshal(text, &p) != nil || p.Status != answer.StatusCode || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: no problem document: %s %s", method, url, answer.Status, text)
		}
	}
	return answer.StatusCode, string(text)
}

// waitLog waits for a text in the log of the gate.
func (w *world) waitLog(text string) {
	for !strings.Contains(w.log.String(), text) {
		time.Sleep(time.Millisecond)
	}
}

func (w *world) url(path string) string { return "https://" + w.address + path }

// ok answers every request.
func ok(context.Context, control.Request) control.Response {
	return control.Response{Services: []control.Service{{Name: "web", State: control.Running}}}
}
