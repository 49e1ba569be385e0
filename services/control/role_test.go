package control

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestRoles(t *testing.T) {
	for _, name := range Roles() {
		if role, err := ParseRole(name); err != nil || role.String() != name || !role.May(role) || !role.May(Reader) || !Admin.May(role) || NoRole.May(role) || role.May(NoRole) {
			t.Errorf("%s is %v, %v", name, role, err)
		}
	}
	for _, name := range []string{"", "none", "Admin", "admin ", "root"} {
		if role, err := ParseRole(name); err == nil || role != NoRole {
			t.Errorf("%q is a role", name)
		}
	}
	if Role(-1).String() != "none" || Role(9).String() != "none" {
		t.Error("a role that does not exist has a name")
	}
}

// gate returns the socket for the gate of a server whose handler accepts everything, and a
// function that returns who sent the last request.
func gate(t *testing.T) (socket string, last func() string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gate")
	if err := PrepareGate(dir); err != nil {
		t.Fatal(err)
	}
	peers := make(chan string, 1)
	server := &Server{Handler: handler(func(_ context.Context, r Request) Response {
		select {
		case <-peers:
		default:
		}
		peers <- r.Peer
		return Response{Services: []Service{{Name: "a", State: Running}}}
	})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	socket = filepath.Join(dir, "s")
	go func() { done <- server.ServeGate(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitForSocket(socket)
	return socket, func() string { return <-peers }
}

// headers are those of a client of the gate.
func headers(role, client string) http.Header {
	h := http.Header{}
	if role != "" {
		h.Set(RoleHeader, role)
	}
	if client != "" {
		h.Set(ClientHeader, client)
	}
	return h
}

// A client of the gate may do what its role permits: every operation, every role.
func TestRolesOfRoutes(t *testing.T) {
	socket, _ := gate(t)
	for _, route := range (&Server{}).Routes() {
		for role := Reader; role <= Admin; role++ {
			path, body := strings.ReplaceAll(route.Path, "{name}", "a"), ""
			if _, ok := route.Body.(order); ok {
				body = `{"verb":"start","services":["a"]}`
			}
			status, media, text := do(t, socket, route.Method, path, headers(role.String(), "alice"), body)
			if role.May(route.Role) {
				if status >= 300 {
					t.Errorf("%s %s as %s: %d %s", route.Method, path, role, status, text)
				}
				continue
			}
			var p problem
			if err := json.Unmarshal([]byte(text), &p); err != nil || status != http.StatusForbidden || media != problemType || p.Status != status ||
				!strings.Contains(p.Detail, "is for the role "+route.Role.String()+", not for alice ("+role.String()+")") {
				t.Errorf("%s %s as %s: %d %s %s", route.Method, path, role, status, media, text)
			}
		}
	}
}

// The gate itself may do nothing, and neither may a client that it does not describe in full.
func TestGateWithoutClient(t *testing.T) {
	socket, _ := gate(t)
	twice := headers("reader", "alice")
	twice.Add(RoleHeader, "admin")
	for _, h := range []http.Header{nil, headers("admin", ""), headers("", "alice"), headers("none", "alice"), headers("root", "alice"), twice} {
		if status, _, text := do(t, socket, http.MethodGet, "/v1/services", h, ""); status != http.StatusForbidden {
			t.Errorf("%v: %d %s", h, status, text)
		}
	}
}

// A request through the gate tells who sent it, and one at the control socket may not pretend.
func TestCallerIsNamed(t *testing.T) {
	socket, last := gate(t)
	if status, _, text := do(t, socket, http.MethodPost, "/v1/services/a/restart", headers("operator", "alice"), ""); status != http.StatusNoContent {
		t.Fatal(status, text)
	}
	if got := last(); got != "alice (operator) through the gate" {
		t.Errorf("the request is of %q", got)
	}
	peers := make(chan string, 1)
	own := serve(t, func(_ context.Context, r Request) Response {
		peers <- r.Peer
		return Response{}
	})
	if status, _, text := do(t, own, http.MethodPost, "/v1/machine/halt", headers("reader", "alice"), ""); status != http.StatusNoContent {
		t.Fatal(status, text)
	}
	if got := <-peers; !strings.HasPrefix(got, "user ") {
		t.Errorf("the request is of %q", got)
	}
}

// Only the gate may enter the folder of its socket, and it may not change the folder.
func TestGateFolder(t *testing.T) {
	socket, _ := gate(t)
	for path, mode := range map[string]os.FileMode{socket: 0o660, filepath.Dir(socket): 0o710} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
			continue
		}
		stat := info.Sys().(*syscall.Stat_t)
		owners := []uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
		if os.Geteuid() == 0 {
			owners = []uint32{0, GateUser}
		}
		if got := []uint32{stat.Uid, stat.Gid}; !slices.Equal(got, owners) {
			t.Errorf("%s belongs to %d, want %d", path, got, owners)
		}
	}
	a := &admission{gate: true}
	if !a.trusts(GateUser) || !a.trusts(0) || a.trusts(GateUser+1) || (&admission{}).trusts(GateUser) {
		t.Error("the wrong users may connect")
	}
}
