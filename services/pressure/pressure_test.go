package pressure

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/procfs"
)

const gib = 1 << 30

func TestChoose(t *testing.T) {
	short, ample := procfs.Memory{Total: 10 * gib, Available: gib / 2}, procfs.Memory{Total: 10 * gib, Available: 5 * gib}
	for _, tt := range []struct {
		name     string
		machine  procfs.Memory
		services []Use
		want     int
		why      string
	}{
		{"nobody", short, nil, -1, "no service that may be restarted holds much"},
		{"the one that holds most", short, []Use{{Held: gib}, {Held: 3 * gib}, {Held: 2 * gib}}, 1, "memory is short: 512.0 MiB of 10.0 GiB are available, and the service holds 3.0 GiB"},
		{"whoever waits most", short, []Use{{Held: 3 * gib}, {Held: gib, Stalled: 99}}, 0, ""},
		{"what is protected does not count", short, []Use{{Held: gib}, {Held: 3 * gib, Protected: 5 * gib / 2}}, 0, ""},
		{"all of it", short, []Use{{Held: gib, Protected: 2 * gib}}, -1, ""},
		{"oom_score_adj", short, []Use{{Held: gib, Score: 500}, {Held: 3 * gib}}, 0, ""},
		{"spared", short, []Use{{Held: gib}, {Held: 3 * gib, Score: -250}}, 0, ""},
		{"spared more", short, []Use{{Held: gib, Score: -100}, {Held: 3 * gib, Score: -1000}}, -1, ""},
		{"small ones", short, []Use{{Held: gib / 4}, {Held: gib / 4, Score: 1000}}, -1, ""},
		{"a limit that nobody has reached", ample, []Use{{Held: 3 * gib, Used: 3 * gib}, {Used: gib, Limit: 2 * gib, Stalled: 50}}, -1, "memory is available"},
		{"at its limit", ample, []Use{{Held: 3 * gib, Used: 3 * gib}, {Used: gib, Limit: gib, Stalled: 50}}, 1, "it has reached its limit of memory, 1.0 GiB, and has waited for memory for 50 % of the last 10 s"},
		{"above it", ample, []Use{{Used: 2 * gib, Limit: gib, Stalled: 50}}, 0, ""},
		{"at its limit, and content", ample, []Use{{Used: gib, Limit: gib}}, -1, ""},
		{"several at their limits", ample, []Use{{Used: gib, Limit: gib, Stalled: 10}, {Used: gib, Limit: gib, Stalled: 50}}, 1, ""},
		{"equal ones", short, []Use{{Held: gib}, {Held: gib}}, 0, ""},
		{"a tenth is available", procfs.Memory{Total: 10 * gib, Available: gib}, []Use{{Held: 9 * gib, Used: 9 * gib}}, -1, "memory is available"},
		{"huge values", procfs.Memory{Total: 1 << 60, Available: 0}, []Use{{Held: 1 << 61, Score: 1000}}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Choose(tt.machine, tt.services); got.Index != tt.want || !strings.Contains(got.Why, tt.why) || got.Why == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	meminfo  = "MemTotal:        1048576 kB\nMemFree:           10240 kB\nMemAvailable:      20480 kB\nHugePages_Total:       0\n"
	stat     = "anon 1000\nfile 7000\nshmem 2000\ninactive_anon 3000\nactive_anon 0\ninactive_file 4000\nactive_file 1000\n"
	waits    = "some avg10=70.00 avg60=0.00 avg300=0.00 total=9\nfull avg10=42.50 avg60=0.00 avg300=0.00 total=9\n"
	nothing  = "0\n"
	noLimit  = "max\n"
	notAFile = "full\nfull avg10=x\nfull avg10=-1\nfull avg10=NaN\nfull avg10=101\n"
)

func TestReadUse(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"a/memory.current": "10000\n", "a/memory.swap.current": "500\n", "a/memory.stat": stat, "a/memory.pressure": waits,
		"a/memory.min": "100\n", "a/memory.low": "300\n", "a/memory.max": noLimit, "a/memory.high": "20000\n",
		"b/own/memory.current": "10000\n", "b/own/memory.stat": stat, "b/own/memory.pressure": notAFile,
		"b/memory.min": nothing, "b/memory.low": nothing, "b/memory.max": "5\n", "b/memory.high": "7\n", "b/memory.current": "99999\n",
		"c/memory.current": "10\n", "c/memory.stat": stat, "c/memory.max": noLimit,
	})
	for path, want := range map[[2]string]Use{
		{"a", "a"}:        {Held: 5500, Used: 10000, Protected: 300, Limit: 20000, Stalled: 42.5},
		{"b/own", "b"}:    {Held: 5000, Used: 10000, Limit: 5},
		{"c", "c"}:        {Used: 10},
		{"gone", "gone"}:  {},
		{"a/gone", "a"}:   {Protected: 300, Limit: 20000},
		{"a/../b", "b/x"}: {Held: 99999, Used: 99999},
	} {
		if got := readUse(filepath.Join(dir, path[0]), filepath.Join(dir, path[1])); got != want {
			t.Errorf("%v: %+v, want %+v", path, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(stat + waits + meminfo))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p := parseStalled(text); p < 0 || p > 100 || p != p {
			t.Errorf("%q: stalled for %v %%", text, p)
		}
		for key, n := range parseKeys(text) {
			if n < 0 || key == "" {
				t.Errorf("%q: %q is %d", text, key, n)
			}
		}
	})
}

// fake is a supervisor that notes when it restarts what.
type fake struct {
	services []Service
	err      error
	restarts []string
	times    []time.Duration
	begun    time.Time
}

func (f *fake) Sheddable() ([]Service, error) { return f.services, f.err }

func (f *fake) Relieve(s Service, why string) error {
	f.restarts, f.times = append(f.restarts, s.Name), append(f.times, time.Since(f.begun))
	return nil
}

func machineWith(t *testing.T) Options {
	t.Helper()
	dir := write(t, t.TempDir(), map[string]string{
		"meminfo": meminfo, "cgroup.controllers": "memory\n",
		"web/memory.current": "104857600\n", "leaky/memory.current": "524288000\n",
	})
	return Options{Cgroups: dir, Proc: dir}
}

// The pauses between restarts double as long as memory stays short, and begin again afterwards. Until
// then no event of the kernel matters.
func TestWatchPauses(t *testing.T) {
	o := machineWith(t)
	synctest.Test(t, func(t *testing.T) {
		s := &fake{services: []Service{{Name: "web", Cgroup: "/web"}, {Name: "leaky", Cgroup: "leaky"}}, begun: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		events := 0
		o.Wait = func(ctx context.Context) error {
			switch events++; events {
			case 5:
				time.Sleep(time.Hour)
			case 8:
				cancel()
			}
			return ctx.Err()
		}
		if err := Watch(ctx, s, o); err != nil {
			t.Error(err)
		}
		if got := strings.Join(s.restarts, " "); got != "leaky leaky leaky leaky leaky leaky leaky" {
			t.Errorf("restarted: %s", got)
		}
		want := []time.Duration{2, 34, 96, 218, 218 + 240 + 3600 + 2, 218 + 240 + 3600 + 34, 218 + 240 + 3600 + 96}
		for i, at := range s.times {
			if at != want[i]*time.Second {
				t.Errorf("restart %d after %v, want %v", i+1, at, want[i]*time.Second)
			}
		}
	})
}

// When no service can be restarted, that is told once.
func TestWatchNobody(t *testing.T) {
	o := machineWith(t)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s := &fake{services: []Service{{Name: "web", Cgroup: "/web", Score: never}}}
		ctx, cancel := context.WithCancel(t.Context())
		events := 0
		o.Wait = func(ctx context.Context) error {
			if events++; events == 10 {
				cancel()
			}
			return ctx.Err()
		}
		if err := Watch(ctx, s, o); err != nil {
			t.Error(err)
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "holds much") || len(s.restarts) > 0 {
			t.Errorf("restarted %v:\n%s", s.restarts, log.String())
		}
	})
}

func TestWatchEnds(t *testing.T) {
	o := machineWith(t)
	broken := errors.New("broken")
	o.Wait = func(context.Context) error { return broken }
	if err := Watch(t.Context(), &fake{}, o); !errors.Is(err, broken) {
		t.Error(err)
	}
	o.Cgroups = t.TempDir() // as of version 1
	if err := Watch(t.Context(), &fake{}, o); err == nil {
		t.Error("it works without the pressure of cgroups")
	}
	if err := WatchMachine(t.Context(), &fake{}, "quiet keelson.pressure=off", nil); err != nil {
		t.Error(err)
	}
}
