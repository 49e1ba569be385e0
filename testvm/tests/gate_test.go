package tests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/services/cli"
	"keelson/services/control"
	"keelson/services/gate/endpoint"
	"keelson/services/gate/keys"
	"keelson/services/gate/serial"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// gatePort is the name of the gate's virtio-serial port.
const gatePort = "org.keelson.gate.0"

// gateServices are a gate as an unprivileged user, at a port of TCP and one of vsock, which a relay
// lets the host reach; and one at a virtio-serial port, whose device belongs to root.
const gateServices = `
  - name: gate
    image: dir:GATE
    command: ["/usr/bin/gate", "--listen", "tcp://:7443", "--listen", "vsock://:7443"]
    uid: 64743
    gid: 64743
    net: host
    readonly: true
    noNewPrivileges: true
    binds: ["/run/keelson/gate:/run/keelson/gate:ro", "/etc/keelson/gate:/etc/keelson/gate:ro"]
    annotations: {keelson.ready: "log:msg=listening"}
  - name: port
    image: dir:GATE
    command: ["/usr/bin/gate", "--listen", "serial:org.keelson.gate.0"]
    net: new
    readonly: true
    noNewPrivileges: true
    binds: ["/run/keelson/gate:/run/keelson/gate:ro", "/etc/keelson/gate:/etc/keelson/gate:ro", "/dev:/dev"]
    devices: [{path: all, type: c}]
    annotations: {keelson.ready: "log:msg=listening"}
  - name: relay
    image: dir:PAYLOAD
    command: ["/testapp", "relay", ":7444", "7443"]
    net: host
    readonly: true
files:
  - {path: etc/keelson/gate/ca.crt, source: KEYS/server/ca.crt, mode: "0644"}
  - {path: etc/keelson/gate/server.crt, source: KEYS/server/server.crt, mode: "0644"}
  - {path: etc/keelson/gate/server.key, source: KEYS/server/server.key, mode: "0440", uid: 64743}
`

// gateKeys returns a folder with an authority whose clients are named after their roles. The
// machine's clock is years ahead.
func gateKeys(t *testing.T) string {
	t.Helper()
	return folder(t, "gate-keys", func(dir string) {
		a, err := keys.Init(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = a.Server(nil, keys.AuthorityTime-time.Hour)
		for role := control.Reader; role <= control.Admin; role++ {
			err = errors.Join(err, a.Client(role.String(), role, keys.AuthorityTime-time.Hour, ""))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// gateSections returns gateServices with the paths of this host.
func gateSections(t *testing.T, keys string) string {
	t.Helper()
	dir := filepath.Join(vmtest.Repository(t), "build", qemu.AMD64, "gate")
	if _, err := os.Stat(dir); err != nil {
		tier.Skip(t, "VM tier: the gate is not built (make): %v", err)
	}
	return strings.TrimPrefix(strings.NewReplacer("GATE", dir, "KEYS", keys).Replace(gateServices), "\n")
}

// The API is reached from the host by curl, as far as the role of a certificate permits, and
// over vsock and a virtio-serial port.
func checkGate(t *testing.T, v *vmtest.VM, dir, port string) {
	tier.Tool(t, "curl", "curl")
	curl := func(client string, args ...string) (status, body string) {
		files := keys.FilesOf(dir, client)
		command := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "-w", "\n%{http_code}", "--max-time", "300",
			"--cacert", files.CA, "--cert", files.Cert, "--key", files.Key}, args...)...)
		out, err := command.CombinedOutput()
		if err != nil {
			t.Errorf("curl %q: %v: %s", args, err, out)
		}
		i := strings.LastIndexByte(string(out), '\n')
		return string(out[i+1:]), string(out[:i])
	}
	base := "https://" + v.Addr(7443)
	for _, tt := range []struct{ client, method, path, status, text string }{
		{"reader", "GET", "/v1/services/redis", "200", `"state":"running"`},
		{"reader", "GET", "/metrics", "200", "keelson_service_up"},
		{"reader", "POST", "/v1/services/web/restart", "403", "is for the role operator, not for reader (reader) through the gate"},
		{"operator", "POST", "/v1/services/web/restart", "204", ""},
		{"operator", "POST", "/v1/machine/halt", "403", "is for the role admin"},
		{"admin", "POST", "/v1/services/none/start", "404", "no such service: none"},
	} {
		if status, text := curl(tt.client, "-X", tt.method, base+tt.path); status != tt.status || !strings.Contains(text, tt.text) {
			t.Errorf("%s %s as %s: %s %s", tt.method, tt.path, tt.client, status, text)
		}
	}
	if events := v.Output("/usr/bin/service", "events", "--json", "web"); !strings.Contains(events, "operator (operator) through the gate") {
		t.Errorf("no event says who restarted web: %s", events)
	}
	if status, text := curl("reader", "https://"+v.Addr(7444)+"/v1/services/redis"); status != "200" || !strings.Contains(text, `"name":"redis"`) {
		t.Errorf("over vsock: %s %s", status, text)
	}
	log := v.Output("/usr/bin/service", "logs", "gate")
	if !strings.Contains(log, `client="CN=operator,O=keelson:operator"`) || !strings.Contains(log, "/v1/services/web/restart") {
		t.Errorf("the log of the gate is %s", log)
	}
	t.Run("ctl", func(t *testing.T) { checkCtl(t, dir, "tcp://"+v.Addr(7443)) })
	t.Run("serial", func(t *testing.T) { checkSerial(t, dir, port) })
	for _, p := range processes(t, v) { // For the report: what a gate takes.
		if len(p.Args) > 0 && p.Args[0] == "/usr/bin/gate" {
			text := v.File(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID))
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "Rss:") || strings.HasPrefix(line, "Pss:") || strings.HasPrefix(line, "Anonymous:") {
					t.Log(p.PID, strings.TrimSpace(line))
				}
			}
			if uid := v.File(fmt.Sprintf("/proc/%d/status", p.PID)); !strings.Contains(uid, "CapEff:\t0000000000000000") {
				t.Errorf("a gate has capabilities: %s", uid)
			}
		}
	}
}

// The verbs of service work from outside, with the same exit statuses.
func checkCtl(t *testing.T, dir, address string) {
	for _, tt := range []struct {
		client string
		args   []string
		status int
		out    string
	}{
		{"reader", []string{"list"}, control.CodeOK, "redis"},
		{"reader", []string{"status", "--json", "redis"}, control.CodeOK, `"state": "running"`},
		{"reader", []string{"status", "none"}, control.CodeNotFound, "none"},
		{"reader", []string{"events", "redis"}, control.CodeOK, "running"},
		{"reader", []string{"stop", "redis"}, control.CodeFailed, "is for the role operator"},
		{"operator", []string{"restart", "web"}, control.CodeOK, ""},
		{"operator", []string{"logs", "-n", "1", "-o", "cat", "trap"}, control.CodeOK, "waiting for SIGTERM\n"},
		{"reader", []string{"logs", "trap"}, control.CodeFailed, "is for the role operator"},
		{"admin", []string{"exec", "web", "/testapp", "print", "from a service", ""}, control.CodeOK, "from a service\n"},
		{"admin", []string{"exec", "web", "/testapp", "exit", "7"}, 7, ""},
		{"operator", []string{"exec", "web", "/testapp", "exit", "0"}, control.CodeFailed, "is for the role admin"},
		{"operator", []string{"lst"}, control.CodeUsage, "did you mean list?"},
		{"operator", []string{"logs", "-o", "cat", "--grep", "out", "onboot.000-first"}, control.CodeOK, "first out\n"},
		{"reader", []string{"logs", "redis"}, control.CodeFailed, "is for the role operator"},
		{"admin", []string{"exec", "redis", "/usr/bin/redis-server", "--version"}, control.CodeOK, "Redis server v="},
		{"admin", []string{"exec", "redis", "/none"}, 127, "no such file"},
		{"operator", []string{"exec", "redis", "/usr/bin/redis-server", "--version"}, control.CodeFailed, "is for the role admin"},
		{"admin", []string{"debug", "redis", "/bin/busybox", "readlink", "/service/proc/1/exe"}, control.CodeOK, "/usr/bin/redis-"},
		{"admin", []string{"debug", "--with", "web", "redis", "/testapp", "exit", "7"}, 7, ""},
		{"operator", []string{"debug", "redis"}, control.CodeFailed, "is for the role admin"},
		{"reader", []string{"security", "web"}, control.CodeOK, "web: "},
		{"reader", []string{"security", "none"}, control.CodeNotFound, "no service is named none"},
		{"admin", []string{"rollback", "--programs"}, control.CodeFailed, "no previous version"},
		{"operator", []string{"rollback", "--programs"}, control.CodeFailed, "is for the role admin"},
		{"reader", []string{"stats", "--json", "web"}, control.CodeOK, `"cpuSeconds"`},
		{"operator", []string{"kill", "-s", "WINCH", "redis"}, control.CodeOK, ""},
	} {
		if status, out := ctl(t, dir, address, tt.client, tt.args...); status != tt.status || !strings.Contains(out, tt.out) {
			t.Errorf("%s %q: %d %s", tt.client, tt.args, status, out)
		}
	}
}

// ctl runs a command line of keelson ctl.
func ctl(t *testing.T, dir, address, name string, args ...string) (status int, out string) {
	t.Helper()
	files := keys.FilesOf(dir, name)
	client, closer, err := endpoint.Open(endpoint.Config{Address: address, CA: files.CA, Cert: files.Cert, Key: files.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer closer()
	var text strings.Builder
	app := &cli.App{Name: "ctl", Client: client, In: strings.NewReader(""), Out: &text, Err: &text}
	status = app.Run(vmtest.Context(t), args)
	return status, text.String()
}

// The port works for one program after the other, whatever the one before has done.
func checkSerial(t *testing.T, dir, port string) {
	for _, before := range []func(net.Conn){
		func(net.Conn) {},
		func(conn net.Conn) { fmt.Fprint(conn, strings.Repeat("garbage\x16", 1000)) },
		func(conn net.Conn) {
			s, err := serial.Dial(vmtest.Context(t), conn)
			if err != nil {
				t.Error(err)
				return
			}
			stream, err := s.Open()
			if err == nil {
				_, _ = io.WriteString(stream, "\x16\x03\x01") // The program dies in a handshake.
			}
		},
	} {
		conn, err := net.Dial("unix", port)
		if err != nil {
			t.Fatal(err)
		}
		before(conn)
		conn.Close()
		if status, out := ctl(t, dir, "unix:"+port, "reader", "list"); status != control.CodeOK || !strings.Contains(out, "redis") {
			t.Errorf("%d %s", status, out)
		}
		if status, out := ctl(t, dir, "unix:"+port, "admin", "exec", "web", "/testapp", "exit", "7"); status != 7 {
			t.Errorf("exec: %d %s", status, out)
		}
	}
}
