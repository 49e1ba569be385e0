package bundle

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseListen(t *testing.T) {
	all := func(network string, port uint16) Socket {
		return Socket{Network: network, Any: true, Address: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
	}
	at := func(network, address string) Socket {
		return Socket{Network: network, Address: netip.MustParseAddrPort(address)}
	}
	named := func(name string, s Socket) Socket {
		s.Name = name
		return s
	}
	for value, want := range map[string][]Socket{
		"tcp:80":                            {all("tcp", 80)},
		" tcp:80\n tcp:[::1]:443 ":          {all("tcp", 80), at("tcp", "[::1]:443")},
		"udp:53 tcp:53":                     {all("udp", 53), all("tcp", 53)},
		"tcp:10.0.0.1:1 tcp:10.0.0.2:1":     {at("tcp", "10.0.0.1:1"), at("tcp", "10.0.0.2:1")},
		"tcp:0.0.0.0:80 tcp:[::]:80":        {at("tcp", "0.0.0.0:80"), at("tcp", "[::]:80")},
		"tcp:[::ffff:10.0.0.1]:80":          {at("tcp", "10.0.0.1:80")},
		"unix:/run/a=b:c":                   {{Network: "unix", Path: "/run/a=b:c"}},
		"http=tcp:80 admin=unix:/run/x.s_o": {named("http", all("tcp", 80)), {Name: "admin", Network: "unix", Path: "/run/x.s_o"}},
	} {
		if got, err := ParseListen(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", value, got, err, want)
		}
	}
	for _, value := range []string{
		"", " ", "80", "tcp", "tcp:", "tcp:0", "tcp:65536", "tcp:-1", "tcp:http", "tcp:example.org:80", "tcp:localhost:80", "tcp:::1:80", "tcp:1:2:3",
		"tcp:[fe80::1]:80", "tcp:[fe80::1%eth0]:80", "tcp:224.0.0.1:80", "udp:[ff02::1]:80", "udp:255.255.255.255:1",
		"unix:", "unix:run/x", "unix:/", "unix:/run/", "unix:/run/../x", "unix://run/x", "unix:/a\x00", "unix:/" + strings.Repeat("x", 107),
		"http:80", "sctp:80", "=tcp:80", "a b=tcp:80", "a,b=tcp:80", "é=tcp:80", strings.Repeat("n", 65) + "=tcp:80",
		"tcp:80 tcp:80", "a=tcp:80 b=tcp:80", "tcp:10.0.0.1:80 tcp:[::ffff:10.0.0.1]:80", "tcp:80,tcp:81",
		"unix:/a udp:1 udp:1",
	} {
		if got, err := ParseListen(value); err == nil || got != nil {
			t.Errorf("%q gives %+v, %v", value, got, err)
		}
	}
	var many []string
	for i := range MaxSockets + 1 {
		many = append(many, all("tcp", uint16(i+1)).Where())
	}
	if _, err := ParseListen(strings.Join(many, " ")); err == nil || !strings.Contains(err.Error(), "33 sockets are more than 32") {
		t.Error(err)
	}
	if got, err := ParseListen(strings.Join(many[1:], " ")); err != nil || len(got) != MaxSockets {
		t.Error(got, err)
	}
}

// What the parser accepts is within the limits of the kernel and of sd_listen_fds(3), and
// can be written and read again.
func FuzzParseListen(f *testing.F) {
	for _, s := range []string{"tcp:80", "a=tcp:80 udp:[::1]:53", "unix:/run/x", "tcp:1.2.3.4:5 tcp:[::]:6", "unix:/a\x00b", "=tcp:1", "tcp:80 tcp:080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		all, err := ParseListen(value)
		if (err == nil) != (len(all) > 0) || len(all) > MaxSockets {
			t.Fatalf("%q gives %d sockets, %v", value, len(all), err)
		}
		for _, s := range all {
			again, err := ParseListen(s.Where())
			if err != nil || len(again) != 1 || again[0].Where() != s.Where() {
				t.Errorf("%q contains %q, which gives %+v, %v", value, s.Where(), again, err)
			}
			if strings.ContainsAny(s.Name, ":\x00\n") || len(s.Path) > pathLimit || strings.ContainsRune(s.Path, 0) || s.Network != "unix" && s.Address.Port() == 0 {
				t.Errorf("%q gives %+v", value, s)
			}
		}
	})
}

// A bundle that cannot use kept sockets is reported and has none; a probe that a kept
// socket defeats is reported.
func TestCheckListen(t *testing.T) {
	const own, host, shared = `{"type":"pid"}`, `{"type":"mount"}`, `{"type":"pid","path":"/run/ns"}`
	const network = `,{"type":"network"}`
	for _, tt := range []struct {
		namespaces, listen, ready string
		kept                      int
		warning                   string
	}{
		{own, "tcp:80 udp:80", "http:80/", 2, ""},
		{own, "tcp:80", "notify", 1, ""},
		{own, "tcp:80", "tcp:81", 1, ""},
		{own, "udp:80", "tcp:80", 1, ""},
		{own, "tcp:10.0.0.1:80", "tcp:80", 1, ""},
		{own, "unix:/run/x", "unix:/run/y", 1, ""},
		{own, "tcp:80", "tcp:80", 1, "keelson.ready: bad value \"tcp:80\": the kept socket tcp:80 accepts connections"},
		{own, "tcp:127.0.0.1:80", "tcp:80", 1, "the kept socket tcp:127.0.0.1:80 accepts"},
		{own, "tcp:0.0.0.0:80", "tcp:10.0.0.1:80", 1, "accepts connections before"},
		{own, "unix:/run/x", "unix:/run/x", 1, "unix:/run/x accepts"},
		{own + network, "tcp:80", "http:80/", 1, "in the machine's network namespace"},
		{own + network, "tcp:80", "tcp:80", 1, "in the machine's network namespace"},
		{own + network, "unix:/run/x", "http:80/", 1, ""},
		{host, "tcp:80", "http:80/", 0, "keelson.listen: bad value \"tcp:80\": the service needs a PID namespace of its own"},
		{shared, "tcp:80", "http:80/", 0, "the service needs a PID namespace of its own"},
		{host, "tcp:x", "tcp:80", 0, "the port is not one of"},
	} {
		dir := filepath.Join(t.TempDir(), "web")
		config := `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"},"linux":{"namespaces":[` + tt.namespaces + `]},
			"annotations":{"keelson.listen":"` + tt.listen + `","keelson.ready":"` + tt.ready + `"}}`
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Settings.Listen) != tt.kept {
			t.Errorf("%+v: sockets %+v", tt, b.Settings.Listen)
		}
		if want := min(len(tt.warning), 1); len(b.Warnings) != want || want == 1 && !strings.Contains(b.Warnings[0].Error(), tt.warning) {
			t.Errorf("%+v: warnings %v", tt, b.Warnings)
		}
	}
}

// A service that cannot run twice is reported, and is replaced.
func TestCheckOverlap(t *testing.T) {
	for _, tt := range []struct{ annotations, runtime, warning string }{
		{`"keelson.ready":"http:80/"`, `{}`, ""},
		{`"keelson.ready":"log:up"`, `{}`, "both versions write the same log"},
		{`"keelson.health":"log:up"`, `{}`, "both versions write the same log"},
		{`"keelson.restart":"always"`, `{"interfaces":[{"name":"eth1"}]}`, "the same network interfaces"},
		{`"keelson.restart":"always"`, `{"bindNS":{"net":"/run/ns/net"}}`, "the same names for their namespaces"},
	} {
		dir := filepath.Join(t.TempDir(), "web")
		config := `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"},"annotations":{"keelson.swap":"overlap",` + tt.annotations + `}}`
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{ConfigFile: config, RuntimeFile: tt.runtime} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		refused := len(b.Warnings) == 1 && strings.Contains(b.Warnings[0].Error(), "keelson.swap") && strings.Contains(b.Warnings[0].Error(), tt.warning)
		if refused != (tt.warning != "") || (b.Settings.Swap == SwapOverlap) == refused {
			t.Errorf("%+v: swap %s, warnings %v", tt, b.Settings.Swap, b.Warnings)
		}
	}
}
