package bundle

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseSettings(t *testing.T) {
	got, errs := ParseSettings(map[string]string{
		"org.example.other": "x", "keelson.restart": "always", "keelson.restart.delay": "1s",
		"keelson.restart.max-delay": "1m", "keelson.restart.limit": "5/2m", "keelson.after": "a, b,a",
		"keelson.requires": "db", "keelson.ready": "http:80/health", "keelson.ready.timeout": "3s",
		"keelson.health": "exec:/bin/check -q", "keelson.health.interval": "5s", "keelson.health.timeout": "1s",
		"keelson.health.retries": "2", "keelson.stop.signal": "INT", "keelson.stop.timeout": "0s",
		"keelson.on-failure": "reboot", "keelson.timeout": "30s", "keelson.retries": "4",
		"keelson.log.size": "1.5MiB", "keelson.role": "rescue", "keelson.swap.probation": "1m", "keelson.seccomp": "default",
		"keelson.listen":    "tcp:127.0.0.1:80",
		"keelson.swap.keep": "command, env",
		"keelson.userns":    "auto", "keelson.capabilities": "docker-default",
		"keelson.swap": "overlap", "keelson.delegate": "true", "keelson.pressure": "never",
	})
	want := Settings{
		Role: RoleRescue, Restart: RestartAlways, Delay: time.Second, MaxDelay: time.Minute, Limit: Limit{5, 2 * time.Minute},
		After: []string{"a", "b"}, Requires: []string{"db"},
		Ready: Probe{Kind: "http", Target: "80/health", Addresses: localhost, Path: "/health"}, ReadyTimeout: 3 * time.Second,
		Health: Probe{Kind: "exec", Target: "/bin/check -q", Args: []string{"/bin/check", "-q"}}, HealthInterval: 5 * time.Second, HealthTimeout: time.Second, HealthRetries: 2,
		StopSignal: syscall.SIGINT, OnFailure: "reboot", Timeout: 30 * time.Second, Retries: 4,
		Listen:  []Socket{{Network: "tcp", Address: localhost[0]}},
		LogSize: 3 << 19, SwapProbation: time.Minute, SwapKeep: []string{"command", "env"}, Seccomp: SeccompDefault, Swap: SwapOverlap, Pressure: PressureNever,
		Userns: UsernsAuto, Capabilities: "docker-default", Delegate: true,
	}
	if len(errs) != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, errs, want)
	}
}

// localhost are the addresses of a probe with only port 80.
var localhost = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[::1]:80")}

func TestParseProbe(t *testing.T) {
	for value, want := range map[string]Probe{
		"none":              {},
		"notify":            {Kind: "notify"},
		"tcp:80":            {Kind: "tcp", Addresses: localhost},
		"tcp:localhost:80":  {Kind: "tcp", Addresses: localhost},
		"tcp:10.0.0.1:443":  {Kind: "tcp", Addresses: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:443")}},
		"tcp:[fd00::1]:1":   {Kind: "tcp", Addresses: []netip.AddrPort{netip.MustParseAddrPort("[fd00::1]:1")}},
		"http:80":           {Kind: "http", Addresses: localhost, Path: "/"},
		"http:80/a/b?c=%20": {Kind: "http", Addresses: localhost, Path: "/a/b?c=%20"},
		"unix:/run/x:y":     {Kind: "unix", Path: "/run/x:y"},
		`exec:a "b c" d\ e`: {Kind: "exec", Args: []string{"a", "b c", "d e"}},
		"log:^up: ":         {Kind: "log", Pattern: regexp.MustCompile("^up: ")},
	} {
		if _, target, has := strings.Cut(value, ":"); has {
			want.Target = target
		}
		if got, err := ParseProbe(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", value, got, err, want)
		}
		if got := want.String(); got != value && value != "none" {
			t.Errorf("String() of %s is %s", value, got)
		}
	}
}

// What the parser accepts can be run.
func FuzzParseProbe(f *testing.F) {
	for _, s := range []string{"none", "notify", "tcp:80", "http:8080/healthz?a=b", "http:[::1]:80/x", "http:80/\r\nHost: x", `exec:a "b`, "unix:/x", "log:("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseProbe(s)
		if err != nil {
			if !reflect.DeepEqual(p, Probe{}) {
				t.Errorf("%q is refused and returns %+v", s, p)
			}
			return
		}
		good := map[string]bool{
			"": true, "notify": true, "exec": len(p.Args) > 0, "tcp": len(p.Addresses) > 0, "unix": strings.HasPrefix(p.Path, "/"), "log": p.Pattern != nil,
			"http": len(p.Addresses) > 0 && strings.HasPrefix(p.Path, "/") && !strings.ContainsAny(p.Path, " \r\n\x00#"),
		}
		if !good[p.Kind] {
			t.Errorf("%q gives %+v", s, p)
		}
	})
}

// The annotations in the documentation's examples are valid, and each setting has an
// example.
func TestDocumentedSettings(t *testing.T) {
	line := regexp.MustCompile(`(?m)^\s+(keelson\.[a-z.-]+): (.+)$`)
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			found[m[1]+" in "+filepath.Base(file)] = true
			if _, errs := ParseSettings(map[string]string{m[1]: strings.Trim(m[2], `"`)}); len(errs) != 0 {
				t.Errorf("%s: %v", file, errs)
			}
		}
	}
	for name := range setters {
		if !found["keelson."+name+" in supervision.md"] {
			t.Errorf("docs/supervision.md has no example of keelson.%s", name)
		}
	}
}

func TestBadSettingsLeaveDefaults(t *testing.T) {
	for key, values := range map[string][]string{
		"keelson.restart":       {"", "sometimes"},
		"keelson.userns":        {"", "yes", "new", "Auto"},
		"keelson.capabilities":  {"", "all", "CAP_CHOWN", "Docker-default"},
		"keelson.restart.delay": {"1", "-1s", "25h", "soon", "10us", "1e9h", "99999999999999999999s"},
		"keelson.ready.timeout": {"1ns", "-0.5s"},
		"keelson.restart.limit": {"5", "-1/1m", "5/1us", "5/1m/1m", "0/1m", "5/0s", "x/1m", "5/x"},
		"keelson.after":         {"", "a,,b", "a/b", "device:dev/x", "net:", "a,clock:1", "dns:1", "path:/sys/x"},
		"keelson.ready": {"", "tcp", "tcp:0", "tcp:65536", "tcp:example.org:80", "tcp:::1:80", "http:10.0.0.1/x", "unix:run", "log:(", "log:", "exec: ", "http:x/", "udp:1", "none:1",
			"tcp:[fe80::1%eth0]:80", "tcp:1:2:3", "tcp:-1", `exec:/bin/x "open`, `exec:""`, "exec:/bin/x\x00", "http:80/a#b", "http:80/a b", "http:80/é", "unix:/a\x00", "notify:1",
			"tcp:224.0.0.1:80", "tcp:[ff02::1]:80", "tcp:255.255.255.255:80", "http:[fe80::1]:80/", "tcp:[::ffff:224.0.0.1]:80", "unix:/", "unix:/run/", "log:a\nb"},
		"keelson.health.retries":  {"-1", "0", "x", "9999999999"},
		"keelson.stop.signal":     {"", "0", "65", "SIGNOTHING", "SIGRTMIN+31", "SIGRTMIN-1", "SIGRTMAX+1"},
		"keelson.stop.timeout":    {"ten"},
		"keelson.on-failure":      {"panic"},
		"keelson.seccomp":         {"", "Default", "strict", "default,none"},
		"keelson.timeout":         {"1", "-1s", "25h"},
		"keelson.retries":         {"-1", "many"},
		"keelson.role":            {"", "shell"},
		"keelson.swap":            {"restart"},
		"keelson.pressure":        {"", "ignore", "on", "Never"},
		"keelson.delegate":        {"", "yes", "True", "pids"},
		"keelson.listen":          {"", "80", "tcp:80,tcp:81"},
		"keelson.swap.keep":       {"", "args", "command,", "command,user"},
		"keelson.health.interval": {"0s", "99ms"}, "keelson.health.timeout": {"0s"},
		"keelson.log.size": {"", "0", "-1MiB", "63KiB", "2TiB", "1e30", "NaN", "much", "1 m i b"},
		"keelson.restrat":  {"always"},
	} {
		for _, value := range values {
			got, errs := ParseSettings(map[string]string{key: value})
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), key) || !strings.Contains(errs[0].Error(), strconv.Quote(strings.TrimSpace(value))) {
				t.Errorf("%s=%q: errors %v", key, value, errs)
			}
			if want := Defaults(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s=%q: settings %+v, want the defaults", key, value, got)
			}
		}
	}
}

// Annotations override defaults from elsewhere; a bad annotation leaves the default.
func TestSettingsWithOtherDefaults(t *testing.T) {
	base := Defaults()
	base.OnFailure, base.Timeout, base.Retries = Rescue, time.Minute, 3
	got, errs := base.With(map[string]string{"keelson.on-failure": "panic", "keelson.timeout": "0s"})
	want := base
	want.Timeout = 0
	if len(errs) != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, errs, want)
	}
}

func TestStopSignal(t *testing.T) {
	const image = "org.opencontainers.image.stopSignal"
	for _, tt := range []struct {
		annotations map[string]string
		want        syscall.Signal
	}{
		{nil, syscall.SIGTERM},
		{map[string]string{image: "SIGQUIT"}, syscall.SIGQUIT},
		{map[string]string{image: "SIGQUIT", "keelson.stop.signal": "9"}, syscall.SIGKILL},
		{map[string]string{image: "SIGRTMIN+3"}, 37},
		{map[string]string{image: "rtmax-1"}, 63},
		{map[string]string{image: "SIGNOTHING", "keelson.stop.signal": "HUP"}, syscall.SIGHUP},
	} {
		if got, errs := ParseSettings(tt.annotations); got.StopSignal != tt.want || len(errs) != 0 {
			t.Errorf("%v: %v, %v; want %v", tt.annotations, got.StopSignal, errs, tt.want)
		}
	}
}

// A bad keelson.stop.signal leaves the image's signal as default.
func TestBadStopSignal(t *testing.T) {
	const image, own = "org.opencontainers.image.stopSignal", "keelson.stop.signal"
	for _, tt := range []struct {
		annotations map[string]string
		want        syscall.Signal
		bad         []string
	}{
		{map[string]string{image: "SIGQUIT", own: "SIGNOTHING"}, syscall.SIGQUIT, []string{own}},
		{map[string]string{image: "SIGQUIT", own: ""}, syscall.SIGQUIT, []string{own}},
		{map[string]string{image: "0"}, syscall.SIGTERM, []string{image}},
		{map[string]string{image: "x", own: "y"}, syscall.SIGTERM, []string{image, own}},
	} {
		got, errs := ParseSettings(tt.annotations)
		if got.StopSignal != tt.want || len(errs) != len(tt.bad) {
			t.Fatalf("%v: %v, %v; want %v", tt.annotations, got.StopSignal, errs, tt.want)
		}
		for i, key := range tt.bad {
			if !strings.Contains(errs[i].Error(), key) {
				t.Errorf("%v: error %v, want one about %s", tt.annotations, errs[i], key)
			}
		}
	}
}

func FuzzParseSettings(f *testing.F) {
	for name := range setters {
		f.Add("keelson."+name, "10s")
	}
	f.Add("keelson.ready", "http:80/x")
	f.Fuzz(func(t *testing.T, key, value string) {
		s, _ := ParseSettings(map[string]string{key: value})
		if s.StopSignal <= 0 || s.Delay < 0 || s.MaxDelay < 0 || s.StopTimeout < 0 || s.LogSize < 0 {
			t.Errorf("%q=%q gives %+v", key, value, s)
		}
	})
}
