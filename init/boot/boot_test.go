package boot

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
	"keelson/runtime/bundle"
	"keelson/runtime/oneshot"
	"keelson/runtime/timeline"
)

func TestHostname(t *testing.T) {
	for _, tc := range []struct{ file, current, mac, want string }{
		{"box\n", "old", "52:54:00:12:34:56", "box"},
		{"", "given", "52:54:00:12:34:56", "given"},
		{"", "(none)", "52:54:00:12:34:56", "linuxkit-525400123456"},
		{" \n", "", "", "linuxkit"},
	} {
		if got := hostname(tc.file, tc.current, tc.mac); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestMakeTarget(t *testing.T) {
	dir := t.TempDir()
	link, plain := filepath.Join(dir, "link"), filepath.Join(dir, "plain")
	for _, err := range []error{os.Symlink("run/r/resolv.conf", link), os.WriteFile(plain, []byte("x"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, plain, filepath.Join(dir, "none")} {
		if err := makeTarget(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "run/r/resolv.conf")); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(plain); string(text) != "x" {
		t.Errorf("a plain file was changed to %q", text)
	}
}

func TestClock(t *testing.T) {
	got := fromRTC(&unix.RTCTime{Year: 126, Mon: 1, Mday: 28, Hour: 23, Min: 59, Sec: 58})
	if want := time.Date(2026, time.February, 28, 23, 59, 58, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
	class := t.TempDir()
	if kernelSetClock(class) {
		t.Error("set by a kernel without hardware clocks")
	}
	for name, flag := range map[string]string{"rtc0": "0\n", "rtc1": "1\n"} {
		if err := os.Mkdir(filepath.Join(class, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, name, "hctosys"), []byte(flag), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !kernelSetClock(class) {
		t.Error("the second hardware clock was not looked at")
	}
}

func TestConsoleOptions(t *testing.T) {
	o := ConsoleOptions(cmdline.Parse("console=tty0 console=ttyS0,115200 keelson.loglevel=debug"))
	if !reflect.DeepEqual(o.Devices, []string{"/dev/tty0", "/dev/ttyS0"}) || o.Level != slog.LevelDebug || !o.Kmsg {
		t.Errorf("%+v", o)
	}
	if o := ConsoleOptions(cmdline.Parse("keelson.loglevel=loud")); o.Level != slog.LevelInfo {
		t.Errorf("unknown level: %v", o.Level)
	}
}

type paper struct {
	events []string
	raw    string
}

func (p *paper) Event(e timeline.Event) {
	p.events = append(p.events, e.Stage+" "+e.Name+": "+strings.SplitN(e.Result, ":", 2)[0])
}
func (p *paper) Raw(b []byte) { p.raw += string(b) }

// bundles lays out containers; those called broken have no JSON in config.json.
func bundles(t *testing.T, names ...string) *series {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		config := `{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0}}}`
		if strings.Contains(name, "broken") {
			config = `{"ociVersion":`
		}
		if err := os.MkdirAll(filepath.Join(dir, "b", name, "rootfs"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "b", name, "config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &series{
		dir: filepath.Join(dir, "b"), logs: filepath.Join(dir, "logs"), link: filepath.Join(dir, "var/log/onboot"),
		state: filepath.Join(dir, "state"), prefix: "onboot.", stage: "onboot", out: &paper{},
	}
}

func TestSeriesGoesOn(t *testing.T) {
	s := bundles(t, "002-good", "000-fails", "001-broken")
	s.runOne = func(_ context.Context, b *bundle.Bundle, o oneshot.Options) oneshot.Result {
		r := oneshot.Result{Name: b.Name, Stdout: filepath.Join(o.LogDir, b.Name)}
		if err := os.WriteFile(r.Stdout, []byte("I am "+b.Name+"\n"), 0o600); err != nil {
			t.Error(err)
		}
		if strings.Contains(b.Name, "fails") {
			r.ExitCode = 3
		}
		return r
	}
	if err := s.run(t.Context()); err != nil {
		t.Error(err)
	}
	got := s.out.(*paper)
	want := []string{"onboot 000-fails: exited 3", "onboot 001-broken: failed", "onboot 002-good: exited 0"}
	if !reflect.DeepEqual(got.events, want) || got.raw != "I am 000-fails\nI am 002-good\n" {
		t.Errorf("events %q, output %q", got.events, got.raw)
	}
	results, err := oneshot.Load(s.state)
	if err != nil || len(results) != 3 || results[0].ExitCode != 3 || results[1].Err == "" || !results[2].OK() {
		t.Errorf("results %+v, %v", results, err)
	}
	if to, _ := os.Readlink(s.link); to != s.logs {
		t.Errorf("logs are not linked: %q", to)
	}
}

func TestSeriesEndsWithItsContext(t *testing.T) {
	s := bundles(t, "000-a", "001-b")
	ctx, cancel := context.WithCancel(t.Context())
	s.runOne = func(_ context.Context, b *bundle.Bundle, _ oneshot.Options) oneshot.Result {
		cancel()
		return oneshot.Result{Name: b.Name}
	}
	if err := s.run(ctx); err == nil || !strings.Contains(err.Error(), "001-b") {
		t.Errorf("error %v", err)
	}
	if got := s.out.(*paper).events; len(got) != 1 {
		t.Errorf("events %q", got)
	}
}

func TestNoContainers(t *testing.T) {
	s := &series{dir: filepath.Join(t.TempDir(), "none")}
	if err := s.run(t.Context()); err != nil {
		t.Error(err)
	}
}
