package bundle

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
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
		"keelson.on-failure": "reboot", "keelson.timeout": "30s", "keelson.retries": "4", "keelson.swap": "health-gated",
		"keelson.log.size": "1.5MiB", "keelson.role": "rescue",
	})
	want := Settings{
		Role: RoleRescue, Restart: RestartAlways, Delay: time.Second, MaxDelay: time.Minute, Limit: Limit{5, 2 * time.Minute},
		After: []string{"a", "b"}, Requires: []string{"db"},
		Ready: Probe{"http", "80/health"}, ReadyTimeout: 3 * time.Second,
		Health: Probe{"exec", "/bin/check -q"}, HealthInterval: 5 * time.Second, HealthTimeout: time.Second, HealthRetries: 2,
		StopSignal: syscall.SIGINT, OnFailure: "reboot", Timeout: 30 * time.Second, Retries: 4, Swap: "health-gated",
		LogSize: 3 << 19,
	}
	if len(errs) != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, errs, want)
	}
}

func TestProbesOfAnAddress(t *testing.T) {
	for _, value := range []string{"tcp:10.0.0.1:80", "tcp:[::1]:80", "tcp:localhost:80", "http:[fe80::1]:80/x", "http:80", "http:localhost:80/a?b"} {
		kind, target, _ := strings.Cut(value, ":")
		if s, errs := ParseSettings(map[string]string{"keelson.ready": value}); len(errs) != 0 || s.Ready != (Probe{kind, target}) {
			t.Errorf("%s: %+v, %v", value, s.Ready, errs)
		}
	}
}

// The annotations of the documentation's examples mean something, and none lacks one.
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
		if name == "swap" {
			continue // Nothing heeds it yet.
		}
		if !found["keelson."+name+" in supervision.md"] {
			t.Errorf("docs/supervision.md has no example of keelson.%s", name)
		}
	}
}

func TestBadSettingsLeaveDefaults(t *testing.T) {
	for key, values := range map[string][]string{
		"keelson.restart":        {"", "sometimes"},
		"keelson.restart.delay":  {"1", "-1s", "25h", "soon"},
		"keelson.restart.limit":  {"5", "0/1m", "5/0s", "x/1m", "5/x"},
		"keelson.after":          {"", "a,,b", "a/b"},
		"keelson.ready":          {"", "tcp", "tcp:0", "tcp:65536", "tcp:example.org:80", "tcp:::1:80", "http:10.0.0.1/x", "unix:run", "log:(", "log:", "exec: ", "http:x/", "udp:1", "none:1", "notify:1"},
		"keelson.health.retries": {"-1", "x", "9999999999"},
		"keelson.stop.signal":    {"", "0", "65", "SIGNOTHING", "SIGRTMIN+31", "SIGRTMIN-1", "SIGRTMAX+1"},
		"keelson.stop.timeout":   {"ten"},
		"keelson.on-failure":     {"panic"},
		"keelson.timeout":        {"1", "-1s", "25h"},
		"keelson.retries":        {"-1", "many"},
		"keelson.role":           {"", "shell"},
		"keelson.swap":           {"hot"},
		"keelson.log.size":       {"", "0", "-1MiB", "63KiB", "2TiB", "1e30", "NaN", "much", "1 m i b"},
		"keelson.restrat":        {"always"},
	} {
		for _, value := range values {
			got, errs := ParseSettings(map[string]string{key: value})
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), key) || !strings.Contains(errs[0].Error(), `"`+strings.TrimSpace(value)+`"`) {
				t.Errorf("%s=%q: errors %v", key, value, errs)
			}
			if want := Defaults(); key != "keelson.ready" && !reflect.DeepEqual(got, want) {
				t.Errorf("%s=%q: settings %+v, want the defaults", key, value, got)
			}
		}
	}
}

// Annotations are laid over defaults that come from elsewhere; a bad one leaves
// those.
func TestSettingsOverOthers(t *testing.T) {
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
	} {
		if got, errs := ParseSettings(tt.annotations); got.StopSignal != tt.want || len(errs) != 0 {
			t.Errorf("%v: %v, %v; want %v", tt.annotations, got.StopSignal, errs, tt.want)
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
