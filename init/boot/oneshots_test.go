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

	"keelson/init/policy"
	"keelson/runtime/bundle"
	"keelson/runtime/oneshot"
	"keelson/runtime/timeline"
)

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
