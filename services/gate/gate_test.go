package gate_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/gate"
	"keelson/services/gate/keys"
)

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

// Without a supervisor there is a problem document, and with it again there is an answer.
func TestNoSupervisor(t *testing.T) {
	w := newWorld(t, ok)
	w.address = w.serve(t, filepath.Join(t.TempDir(), "none"))
	if status, text := do(t, client(w.config(t, "rita")), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusBadGateway || !strings.Contains(text, "the supervisor does not answer") {
		t.Errorf("%d %s", status, text)
	}
}
