package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/init/policy"
	"keelson/runtime/bundle"
	"keelson/runtime/oneshot"
	"keelson/runtime/timeline"
)

func TestHostname(t *testing.T) {
	for _, tc := range []struct{ given, current, mac, want string }{
		{"box", "old", "52:54:00:12:34:56", "box"},
		{"", "given", "52:54:00:12:34:56", "given"},
		{"", "(none)", "52:54:00:12:34:56", "linuxkit-525400123456"},
		{"", "", "", "linuxkit"},
	} {
		if got := hostname(tc.given, tc.current, tc.mac); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestParseHostname(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "\n \n": "", "box\n": "box", "# the name of this machine\nbox7\n": "box7", "\n\t#\n box7 # of ours\nother\n": "box7",
		"box7\r\nother\r\n": "box7", "\ufeffbox7\n": "box7", "a.example.org.\n": "a.example.org", "My_Box-1": "My_Box-1", "# only\n#": "",
		strings.Repeat("x", 64): strings.Repeat("x", 64),
	} {
		if got, err := parseHostname(text); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"b\x00x", "bücher", "a..b", ".", "-a", "a-", "a/b", "box;reboot", strings.Repeat("x", 65), "\n=\nbox"} {
		if got, err := parseHostname(text); got != "" || err == nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzParseHostname(f *testing.F) {
	f.Add("# a\n\nbox7 # b\nc")
	f.Add("\ufeff\x00.")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := parseHostname(text)
		if name != "" && (err != nil || len(name) > hostnameMax || strings.ContainsAny(name, "# \n\x00")) {
			t.Errorf("%q: %q, %v", text, name, err)
		}
	})
}

func TestReadLimited(t *testing.T) {
	dir := t.TempDir()
	path := func(name string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	full := path("full", os.WriteFile(filepath.Join(dir, "full"), make([]byte, readLimit), 0o600))
	if data, err := readLimited(full); len(data) != readLimit || err != nil {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if data, err := readLimited(filepath.Join(dir, "none")); data != nil || err != nil {
		t.Errorf("missing: %q, %v", data, err)
	}
	for _, bad := range []string{
		dir,
		path("fifo", unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)),
		path("zero", os.Symlink("/dev/zero", filepath.Join(dir, "zero"))),
		path("long", os.WriteFile(filepath.Join(dir, "long"), make([]byte, readLimit+1), 0o600)),
	} {
		if data, err := readLimited(bad); len(data) != 0 || err == nil {
			t.Errorf("%s: %d bytes, %v", bad, len(data), err)
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
	// A target that exists is not opened: opening a FIFO would block.
	fifo := filepath.Join(dir, "fifo")
	for _, err := range []error{unix.Mkfifo(fifo+".target", 0o600), os.Symlink("fifo.target", fifo)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, plain, fifo, filepath.Join(dir, "none")} {
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
		t.Error("kernelSetClock is true without hardware clocks")
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
		t.Error("kernelSetClock is false, but the second hardware clock has set the time")
	}
}

func TestBuildTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "build-time")
	if got, err := buildTime(file); !got.Equal(oldest) || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	for text, want := range map[string]time.Time{
		"1790000000\n": time.Unix(1790000000, 0), "0": oldest, "86400": oldest, "": {}, "-1": {}, "today": {}, "99999999999": {},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := buildTime(file)
		if bad := want.IsZero(); bad != (err != nil) || bad && !got.Equal(oldest) || !bad && !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestImplausible(t *testing.T) {
	built := time.Date(2026, time.November, 27, 12, 0, 0, 0, time.UTC)
	for at, believed := range map[string]bool{
		"1970-01-01T00:00:07Z": false, "1999-12-31T23:59:59Z": false, "2026-11-27T11:59:59Z": false,
		"2026-11-27T12:00:00Z": true, "2036-01-01T00:00:00Z": true, "2046-11-27T12:00:00Z": true,
		"2046-11-27T12:00:01Z": false, "2062-05-05T00:00:00Z": false, "2099-01-01T00:00:00Z": false,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if why := implausible(now, built); believed != (why == "") {
			t.Errorf("%s: %q", at, why)
		}
	}
}

type recorder struct {
	events []string
	raw    string
}

func (p *recorder) Event(e timeline.Event) {
	e.Result, _, _ = strings.Cut(e.Result, ":")
	p.events = append(p.events, e.Stage+" "+e.Name+": "+e.Outcome())
}
func (p *recorder) Raw(b []byte) { p.raw += string(b) }

// bundles writes bundles, each given as "NAME" or "NAME ANNOTATIONS" with annotations
// in JSON, and returns their series. If NAME contains "broken", config.json is invalid.
func bundles(t *testing.T, names ...string) *series {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		name, annotations, _ := strings.Cut(name, " ")
		config := `{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0}},"annotations":{` + annotations + `}}`
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
		state: filepath.Join(dir, "state"), prefix: "onboot.", stage: "onboot", out: &recorder{},
		log: slog.New(slog.DiscardHandler), rules: policy.Silent().Rules,
		request: func(a policy.Action) error { return fmt.Errorf("asked for %v", a) },
	}
}

func TestSeriesContinues(t *testing.T) {
	s := bundles(t, "002-good", "000-fails", "001-broken")
	s.runOne = func(_ context.Context, b *bundle.Bundle, o oneshot.Options) oneshot.Result {
		r := oneshot.Result{Name: b.Name, Stdout: filepath.Join(o.LogDir, "onboot."+b.Name+".out.log")}
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
	got := s.out.(*recorder)
	want := []string{"onboot 000-fails: exited 3; continuing (by default); log: " + s.link + "/onboot.000-fails.out.log",
		"onboot 001-broken: failed; continuing (by default)", "onboot 002-good: exited 0"}
	if !reflect.DeepEqual(got.events, want) || got.raw != "I am 000-fails\nI am 002-good\n" {
		t.Errorf("events %q, output %q", got.events, got.raw)
	}
	results, err := readResults(s.state)
	if err != nil || len(results) != 3 || results[0].ExitCode != 3 || results[1].Err == "" || !results[2].OK() {
		t.Errorf("results %+v, %v", results, err)
	}
	if results[0].Decision != "continuing (by default)" || results[0].Attempts != 1 || results[2].Decision != "" {
		t.Errorf("results %+v", results)
	}
	if to, _ := os.Readlink(s.link); to != s.logs {
		t.Errorf("logs are not linked: %q", to)
	}
}

// If two containers share a log, both run, and it is reported that a log is lost.
func TestSeriesLogNamesClash(t *testing.T) {
	s := bundles(t, "a", "a.out")
	var logged bytes.Buffer
	var attempts []string
	s.kind, s.log, s.runOne = "onboot", slog.New(slog.NewTextHandler(&logged, nil)), failTimes(map[string]int{}, &attempts)
	if err := s.run(t.Context()); err != nil || len(attempts) != 2 {
		t.Errorf("%v, %q", err, attempts)
	}
	if want := "onboot a and a.out share the file /var/log/onboot/onboot.a.out.log"; strings.Count(logged.String(), want) != 1 {
		t.Errorf("logged %q", logged.String())
	}
}

// failTimes returns a runOne that fails times[NAME] times and appends each attempt to
// attempts.
func failTimes(times map[string]int, attempts *[]string) func(context.Context, *bundle.Bundle, oneshot.Options) oneshot.Result {
	return func(_ context.Context, b *bundle.Bundle, o oneshot.Options) oneshot.Result {
		*attempts = append(*attempts, fmt.Sprintf("%s append=%v timeout=%v", b.Name, o.Append, o.Timeout))
		times[b.Name]--
		r := oneshot.Result{Name: b.Name}
		if times[b.Name] >= 0 {
			r.ExitCode = 1
		}
		return r
	}
}

func TestSeriesRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bundles(t, `000-recovers "keelson.retries":"3","keelson.restart.delay":"2s"`, `001-never "keelson.retries":"1","keelson.timeout":"9s"`, "002-last")
		var attempts []string
		s.runOne = failTimes(map[string]int{"000-recovers": 2, "001-never": 9}, &attempts)
		began := time.Now()
		if err := s.run(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 6100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if want := []string{"000-recovers append=false timeout=0s", "000-recovers append=true timeout=0s", "000-recovers append=true timeout=0s",
			"001-never append=false timeout=9s", "001-never append=true timeout=9s", "002-last append=false timeout=0s"}; !reflect.DeepEqual(attempts, want) {
			t.Errorf("attempts %q", attempts)
		}
		want := []string{
			"onboot 000-recovers: exited 1; attempt 2 of 4 in 2s (keelson.retries=3)", "onboot 000-recovers: exited 1; attempt 3 of 4 in 4s (keelson.retries=3)",
			"onboot 000-recovers: exited 0; it took 3 attempts",
			"onboot 001-never: exited 1; attempt 2 of 2 in 100ms (keelson.retries=1)", "onboot 001-never: exited 1; 2 attempts failed, continuing (by default)",
			"onboot 002-last: exited 0"}
		if got := s.out.(*recorder).events; !reflect.DeepEqual(got, want) {
			t.Errorf("events %q", got)
		}
		results, err := readResults(s.state)
		if err != nil || len(results) != 3 || results[0].Attempts != 3 || results[1].Attempts != 2 || results[1].Decision != "2 attempts failed, continuing (by default)" {
			t.Errorf("results %+v, %v", results, err)
		}
	})
}

// The pause before another attempt ends when the context ends.
func TestSeriesEndsDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bundles(t, `000-a "keelson.retries":"3","keelson.restart.delay":"30s"`, "001-b")
		var attempts []string
		s.runOne = failTimes(map[string]int{"000-a": 9}, &attempts)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := s.run(ctx); err == nil || !strings.Contains(err.Error(), "001-b") {
			t.Errorf("error %v", err)
		}
		if len(attempts) != 1 || time.Since(began) != time.Second {
			t.Errorf("attempts %q in %v", attempts, time.Since(began))
		}
	})
}

// A shutdown is requested once, and no other container runs; the series waits until
// the context ends.
func TestSeriesRequestsShutdown(t *testing.T) {
	for policyName, want := range map[string]string{"reboot": "rebooting", "poweroff": "powering off", "halt": "halting"} {
		synctest.Test(t, func(t *testing.T) {
			s := bundles(t, fmt.Sprintf(`000-a "keelson.on-failure":%q`, policyName), "001-b")
			var attempts, asked []string
			s.runOne = failTimes(map[string]int{"000-a": 1}, &attempts)
			ctx, cancel := context.WithCancel(t.Context())
			s.request = func(a policy.Action) error {
				asked = append(asked, a.String())
				time.AfterFunc(time.Minute, cancel)
				return nil
			}
			if err := s.run(ctx); err == nil || !strings.Contains(err.Error(), "001-b") {
				t.Errorf("error %v", err)
			}
			if len(attempts) != 1 || !reflect.DeepEqual(asked, []string{want}) {
				t.Errorf("%s: attempts %q, asked for %q", policyName, attempts, asked)
			}
			if results, _ := readResults(s.state); len(results) != 1 || results[0].Decision != want+" (keelson.on-failure="+policyName+")" {
				t.Errorf("results %+v", results)
			}
		})
	}
}

func TestSeriesEndsWithItsContext(t *testing.T) {
	s := bundles(t, `000-a "keelson.on-failure":"reboot"`, "001-b")
	ctx, cancel := context.WithCancel(t.Context())
	s.runOne = func(_ context.Context, b *bundle.Bundle, _ oneshot.Options) oneshot.Result {
		cancel()
		return oneshot.Result{Name: b.Name, ExitCode: 1}
	}
	if err := s.run(ctx); err == nil || !strings.Contains(err.Error(), "001-b") || strings.Contains(err.Error(), "asked for") {
		t.Errorf("error %v", err)
	}
	if got := s.out.(*recorder).events; !reflect.DeepEqual(got, []string{"onboot 000-a: exited 1"}) {
		t.Errorf("events %q", got)
	}
}

func TestRequestOnlyFromInit(t *testing.T) {
	if err := findInit().request(policy.Halt); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("error %v", err) // the parent is `go test`
	}
	if err := initPID(1 << 22).request(policy.Halt); err == nil || !strings.Contains(err.Error(), "it has ended") {
		t.Errorf("error %v", err)
	}
}

func TestNoContainers(t *testing.T) {
	s := &series{dir: filepath.Join(t.TempDir(), "none")}
	if err := s.run(t.Context()); err != nil {
		t.Error(err)
	}
}

// Only containers that may need the links wait for them, and only until the deadline.
func TestWaitForLinks(t *testing.T) {
	own := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.NetworkNamespace}}}}
	other := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/run/netns/x"}}}}
	host := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}}}
	named := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/proc/1/ns/net"}}}}
	for _, s := range []*specs.Spec{own, other} {
		waiting := &links{done: make(chan struct{}), until: time.Now().Add(time.Hour)} // Would hang.
		if waiting.wait(t.Context(), &bundle.Bundle{Spec: s}) {
			t.Errorf("%+v: started without the links", s.Linux.Namespaces)
		}
	}
	for _, s := range []*specs.Spec{host, named, {}, nil} {
		b := &bundle.Bundle{Spec: s}
		over := &links{done: make(chan struct{}), until: time.Now()}
		if first, second := over.wait(t.Context(), b), over.wait(t.Context(), b); !first || second {
			t.Errorf("%+v: reported %v, then %v; want true, then false", s, first, second)
		}
		waiting := &links{done: make(chan struct{}), until: time.Now().Add(time.Hour)}
		go close(waiting.done)
		if waiting.wait(t.Context(), b) {
			t.Errorf("%+v: started without the links", s)
		}
		if new(links).wait(t.Context(), b) || (*links)(nil).wait(t.Context(), b) {
			t.Errorf("%+v: wait returns true without links", s)
		}
	}
}

// readResults reads the results that the role has saved, in the order of their names.
func readResults(dir string) ([]oneshot.Result, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	var results []oneshot.Result
	for _, path := range paths {
		text, readErr := os.ReadFile(path)
		var r oneshot.Result
		err = errors.Join(err, readErr, json.Unmarshal(text, &r))
		results = append(results, r)
	}
	return results, err
}
