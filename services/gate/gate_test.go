package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/gate"
	"keelson/services/gate/keys"
	"keelson/services/gate/serial"
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

// Every operation answers clients whose role permits it, and no others.
func TestRoles(t *testing.T) {
	w := newWorld(t, ok)
	routes := (&control.Server{}).Routes()
	for name, role := range map[string]control.Role{"rita": control.Reader, "olga": control.Operator, "anna": control.Admin} {
		c := client(w.config(t, name))
		for _, route := range routes {
			body := ""
			if strings.HasSuffix(route.Path, "/orders") {
				body = `{"verb":"start","services":["web"]}`
			}
			status, text := do(t, c, route.Method, w.url(strings.ReplaceAll(route.Path, "{name}", "web")), body)
			if role.May(route.Role) != (status < 300 && status != 0) || !role.May(route.Role) && status != http.StatusForbidden {
				t.Errorf("%s %s as %s: %d %s", route.Method, route.Path, role, status, text)
			}
		}
	}
}

// A client cannot claim another role or name by headers.
func TestHeadersOfClients(t *testing.T) {
	peers := make(chan string, 9)
	w := newWorld(t, func(_ context.Context, r control.Request) control.Response {
		peers <- r.Peer
		return control.Response{}
	})
	for _, headers := range [][]string{
		{control.RoleHeader, "admin"},
		{control.ClientHeader, "anna", control.RoleHeader, "admin"},
		{control.RoleHeader, "admin", "Connection", control.RoleHeader + ", " + control.ClientHeader},
		{"Connection", "close, " + control.RoleHeader},
		{"Transfer-Encoding", "chunked", "Trailer", control.RoleHeader},
	} {
		if status, text := do(t, client(w.config(t, "olga")), http.MethodPost, w.url("/v1/machine/halt"), "", headers...); status != http.StatusForbidden {
			t.Errorf("%q: %d %s", headers, status, text)
		}
		if status, text := do(t, client(w.config(t, "olga")), http.MethodPost, w.url("/v1/services/a/start"), "", headers...); status != http.StatusNoContent {
			t.Errorf("%q: %d %s", headers, status, text)
			continue
		}
		if got := <-peers; got != "olga (operator) through the gate" {
			t.Errorf("%q: the request is of %q", headers, got)
		}
	}
}

// A client without a certificate of the authority gets no connection.
func TestHandshakes(t *testing.T) {
	w := newWorld(t, ok)
	other, err := keys.Init(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	otherDir := filepath.Dir(other.Dir())
	if err := errors.Join(other.Client("anna", control.Admin, time.Hour, ""), w.authority.Client("brief", control.Admin, time.Second, "")); err != nil {
		t.Fatal(err)
	}
	ours := keys.FilesOf(w.keys, "anna")
	foreign := keys.FilesOf(otherDir, "anna")
	foreign.CA = ours.CA
	server := keys.Files{CA: ours.CA, Cert: filepath.Join(w.authority.Dir(), gate.CertFile), Key: filepath.Join(w.authority.Dir(), gate.KeyFile)}
	brief := configOf(t, keys.FilesOf(w.keys, "brief"))
	for time.Now().Before(brief.Certificates[0].Leaf.NotAfter.Add(time.Second)) {
		time.Sleep(100 * time.Millisecond)
	}
	old := configOf(t, ours)
	old.MinVersion, old.MaxVersion = 0, tls.VersionTLS12
	for name, c := range map[string]*tls.Config{
		"no certificate": configOf(t, keys.Files{CA: ours.CA}), "another authority": configOf(t, foreign),
		"the gate's own certificate": configOf(t, server), "expired": brief, "TLS 1.2": old,
	} {
		if status, text := do(t, client(c), http.MethodGet, w.url("/v1/services"), ""); status != 0 || !strings.Contains(text, "tls: ") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := do(t, client(configOf(t, keys.FilesOf(otherDir, "anna"))), http.MethodGet, w.url("/v1/services"), ""); status != 0 || !strings.Contains(text, "unknown authority") {
		t.Errorf("a client takes the gate of another authority: %d %s", status, text)
	}
	if status, text := do(t, client(w.config(t, "rita")), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	w.waitLog("a connection was refused")
}

// A certificate that is revoked, or renewed, while the gate runs.
func TestCredentialsChange(t *testing.T) {
	w := newWorld(t, ok)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: w.config(t, "anna")}} // One connection.
	if status, text := do(t, c, http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
		t.Fatal(status, text)
	}
	cert, err := keys.Certificate(keys.FilesOf(w.keys, "anna").Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.authority.Revoke(cert); err != nil {
		t.Fatal(err)
	}
	if status, text := do(t, c, http.MethodGet, w.url("/v1/services"), ""); status != http.StatusForbidden || !strings.Contains(text, "revoked") {
		t.Errorf("a revoked certificate on its connection: %d %s", status, text)
	}
	if status, text := do(t, client(w.config(t, "anna")), http.MethodGet, w.url("/v1/services"), ""); status != 0 {
		t.Errorf("a revoked certificate: %d %s", status, text)
	}
	if err := errors.Join(w.authority.Client("anna", control.Admin, time.Hour, ""), w.authority.Server([]string{"other.example"}, time.Hour)); err != nil {
		t.Fatal(err)
	}
	renewed := w.config(t, "anna")
	renewed.ServerName = "other.example"
	if status, text := do(t, client(renewed), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
		t.Errorf("renewed certificates: %d %s", status, text)
	}
	if err := os.WriteFile(filepath.Join(w.authority.Dir(), gate.CAFile), []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, text := do(t, client(renewed), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK || !strings.Contains(w.log.String(), "those before stay in use") {
		t.Errorf("with a file that cannot be used: %d %s, log %s", status, text, w.log)
	}
}

func TestCredentialsThatCannotBeUsed(t *testing.T) {
	for name, text := range map[string]string{gate.CAFile: "", gate.CertFile: "x", gate.KeyFile: "x", gate.RevokedFile: "x"} {
		w := t.TempDir()
		a, err := keys.Init(w)
		if err == nil {
			err = errors.Join(a.Server(nil, time.Hour), os.WriteFile(filepath.Join(a.Dir(), name), []byte(text), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gate.LoadCredentials(a.Dir(), slog.Default()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := gate.LoadCredentials(t.TempDir(), slog.Default()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A page of another origin can do nothing with the certificate of a browser's user.
func TestBrowsers(t *testing.T) {
	w := newWorld(t, ok)
	c := client(w.config(t, "anna"))
	own := "https://" + w.address
	for _, tt := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", "/v1/services", nil, 200},
		{"POST", "/v1/services/a/start", nil, 204},
		{"GET", "/v1/services", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", "/v1/services", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		{"GET", "/v1/services", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		{"GET", "/v1/services", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", "/v1/services", []string{"Origin", "https://evil.example"}, 403},
		{"POST", "/v1/services/a/start", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 403},
		{"POST", "/v1/services/a/start", []string{"Sec-Fetch-Site", "same-origin", "Origin", own, gate.PageHeader, "1"}, 204},
		{"POST", "/v1/services/a/start", []string{"Origin", own, gate.PageHeader, "1"}, 204},
		{"POST", "/v1/services/a/start", []string{"Sec-Fetch-Site", "cross-site", "Origin", own, gate.PageHeader, "1"}, 403},
		{"POST", "/v1/services/a/start", []string{"Sec-Fetch-Site", "same-origin", "Origin", "null", gate.PageHeader, "1"}, 403},
		{"POST", "/v1/services/a/start", []string{"Origin", "http://" + w.address, gate.PageHeader, "1"}, 403},
		{"POST", "/v1/services/a/start", []string{"Origin", "https://evil.example", gate.PageHeader, "1", "Host", "evil.example"}, 204}, // The certificate refuses that name before.
		{"GET", "/v1/services", []string{"Origin", "https://evil.example", "Connection", "Upgrade", "Upgrade", "websocket"}, 403},
		{"GET", "/v1/services", []string{"Sec-Fetch-Site", "same-origin", "Connection", "Upgrade", "Upgrade", "websocket"}, 403},
		{"TRACE", "/v1/services", nil, 405},
		{"DELETE", "/v1/services", nil, 405},
		{"GET", "/v1/none", nil, 404},
		{"GET", "/v1/services?none=1", nil, 400},
		{"GET", "/v1/services?name=%zz", nil, 400},
	} {
		if status, text := do(t, c, tt.method, own+tt.path, "", tt.headers...); status != tt.status {
			t.Errorf("%s %s %q: %d %s, want %d", tt.method, tt.path, tt.headers, status, text, tt.status)
		}
	}
}

// The log says who changed what, and what was refused; not what was read.
func TestAudit(t *testing.T) {
	w := newWorld(t, ok)
	do(t, client(w.config(t, "olga")), http.MethodGet, w.url("/v1/services"), "")
	do(t, client(w.config(t, "olga")), http.MethodPost, w.url("/v1/services/web/restart"), "")
	do(t, client(w.config(t, "rita")), http.MethodPost, w.url("/v1/machine/halt"), "")
	w.waitLog("path=/v1/machine/halt")
	w.waitLog("path=/v1/services/web/restart")
	lines := strings.Split(strings.TrimSpace(w.log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("the log is %q", lines)
	}
	slices.Sort(lines) // Each is written after the response.
	if strings.Contains(lines[0], "rita") {
		slices.Reverse(lines)
	}
	for i, want := range [][]string{
		{"CN=olga,O=keelson:operator", "method=POST", "path=/v1/services/web/restart", "status=204", "from=127.0.0.1:"},
		{"CN=rita,O=keelson:reader", "method=POST", "path=/v1/machine/halt", "status=403"},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("%q lacks %q", lines[i], part)
			}
		}
	}
}

// A client learns who it is.
func TestAbout(t *testing.T) {
	w := newWorld(t, ok)
	status, text := do(t, client(w.config(t, "olga")), http.MethodGet, w.url("/gate/client"), "")
	if status != http.StatusOK || !strings.HasPrefix(text, `{"name":"olga","role":"operator","expires":"20`) {
		t.Errorf("%d %s", status, text)
	}
}

// Events arrive while the stream is open.
func TestEvents(t *testing.T) {
	w := newWorld(t, ok)
	answer, err := w.events(t, "rita")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for i := range 3 {
		name := fmt.Sprintf("service%d", i)
		w.journal.Append(events.Event{Kind: "service", Name: name, To: "running"})
		var got string
		buf := make([]byte, 4096)
		for !strings.Contains(got, name) {
			n, err := answer.Body.Read(buf)
			if got += string(buf[:n]); err != nil {
				t.Fatalf("%q: %v", got, err)
			}
		}
	}
}

func (w *world) events(t *testing.T, name string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url("/v1/events"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	return client(w.config(t, name)).Do(r)
}

// A stream ends when the certificate of its client does.
func TestStreamEndsWithCertificate(t *testing.T) {
	w := newWorld(t, ok)
	for valid := 2 * time.Second; ; valid *= 2 { // Until the certificate lives long enough for a handshake.
		if err := w.authority.Client("brief", control.Reader, valid, ""); err != nil {
			t.Fatal(err)
		}
		answer, err := w.events(t, "brief")
		if err == nil && answer.StatusCode != http.StatusOK {
			answer.Body.Close()
			err = errors.New(answer.Status)
		}
		if err != nil && valid < time.Hour {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return
	}
}

// An artifact is sent as it comes, while its progress is received; and not at all when it is refused.
func TestSwap(t *testing.T) {
	received := make(chan string, 1)
	next := make(chan struct{})
	w := newWorld(t, func(_ context.Context, r control.Request) control.Response {
		buf := make([]byte, 5)
		_, err := io.ReadFull(r.Body, buf)
		r.Progress("reading")
		<-next
		rest, err2 := io.ReadAll(r.Body)
		received <- fmt.Sprint(string(buf), string(rest), err, err2)
		return control.Response{}
	})
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url("/v1/services/a/swap"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Expect", "100-continue")
	go func() { _, _ = io.WriteString(in, "first") }()
	answer, err := client(w.config(t, "anna")).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got := make([]byte, 15)
	if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "event: progress" {
		t.Fatalf("%q, %v", got, err)
	}
	close(next)
	go func() {
		_, _ = in.Write(bytes.Repeat([]byte("x"), 1<<20))
		in.Close()
	}()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), "event: result") {
		t.Errorf("%s, %v", text, err)
	}
	if got := <-received; got != "first"+strings.Repeat("x", 1<<20)+"<nil><nil>" && got != "first"+strings.Repeat("x", 1<<20)+"<nil> <nil>" {
		t.Errorf("the supervisor received %.50q…", got)
	}
	refused, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url("/v1/services/a/swap"), unread{t})
	if err != nil {
		t.Fatal(err)
	}
	refused.Header.Set("Expect", "100-continue")
	answer, err = client(w.config(t, "olga")).Do(refused)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Error(answer.Status)
	}
}

// unread is a body that must not be sent.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is sent")
	return 0, io.EOF
}

// A connection that is taken over by another protocol passes both ways, over TCP and over a serial
// port, also what is sent just before its end.
func TestUpgrade(t *testing.T) {
	const last = "the last words"
	w := newWorld(t, ok, control.Route{Method: "GET", Path: "/v1/echo", Role: control.Admin, Answer: control.Text{}, Handle: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.CopyN(conn, both, 15)
		_, _ = io.WriteString(conn, last)
	}})
	for _, dial := range []func() net.Conn{w.dialTCP(t), w.dialSerial(t)} {
		for range 5 {
			config := w.config(t, "anna")
			config.ServerName = keys.ServerName
			conn := tls.Client(dial(), config)
			fmt.Fprintf(conn, "GET /v1/echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", w.address)
			var head []byte
			for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
				b := make([]byte, 1)
				if _, err := conn.Read(b); err != nil {
					t.Fatalf("%q: %v", head, err)
				}
				head = append(head, b[0])
			}
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("%s", head)
			}
			for range 3 {
				if _, err := io.WriteString(conn, "hello"); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
					t.Fatalf("%q, %v", got, err)
				}
			}
			if rest, err := io.ReadAll(conn); err != nil || string(rest) != last {
				t.Errorf("%q, %v", rest, err)
			}
			conn.Close()
		}
	}
	w.waitLog("msg=request client") // Written when the gate has noticed the end.
	if log := w.log.String(); !strings.Contains(log, "request begins") || !strings.Contains(log, "status=101") {
		t.Error(log)
	}
}

func (w *world) dialTCP(t *testing.T) func() net.Conn {
	return func() net.Conn {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// dialSerial starts a gate at one end of a socket, which stands for a port, and returns a function
// that opens connections in a session.
func (w *world) dialSerial(t *testing.T) func() net.Conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := serial.NewListener(os.NewFile(uintptr(fds[0]), "near"), "test")
	if err != nil {
		t.Fatal(err)
	}
	w.gate(t, w.socket, l)
	f := os.NewFile(uintptr(fds[1]), "far")
	far, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	s, err := serial.Dial(t.Context(), far)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return func() net.Conn {
		conn, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// Without a supervisor there is a problem document, and with it again there is an answer.
func TestNoSupervisor(t *testing.T) {
	w := newWorld(t, ok)
	w.address = w.serve(t, filepath.Join(t.TempDir(), "none"))
	if status, text := do(t, client(w.config(t, "rita")), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusBadGateway || !strings.Contains(text, "the supervisor does not answer") {
		t.Errorf("%d %s", status, text)
	}
}
