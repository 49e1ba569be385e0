package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
)

func write(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// v2 has the files of a cgroup as Linux 6.1 shows them.
var v2 = map[string]string{
	"cgroup.controllers": "cpu io memory pids\n",
	"a/cpu.stat":         "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 0\n",
	"a/memory.current":   "4096\n",
	"a/memory.peak":      "8192\n",
	"a/memory.max":       "max\n",
	"a/memory.events":    "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n",
	"a/pids.current":     "5\n",
	"a/pids.max":         "100\n",
	"a/cpu.pressure":     "some avg10=0.00 avg60=0.00 avg300=0.00 total=250000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
	"a/memory.pressure":  "some avg10=1.00 avg60=0.00 avg300=0.00 total=2000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
}

var v1 = map[string]string{
	"cpuacct/a/cpuacct.usage":              "1500000000\n",
	"cpuacct/a/cpuacct.usage_user":         "1000000000\n",
	"memory/a/memory.usage_in_bytes":       "4096\n",
	"memory/a/memory.max_usage_in_bytes":   "8192\n",
	"memory/a/memory.limit_in_bytes":       "9223372036854771712\n",
	"memory/a/memory.oom_control":          "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
	"pids/a/pids.current":                  "5\n",
	"pids/a/pids.max":                      "max\n",
	"memory/limited/memory.limit_in_bytes": "1048576\n",
}

func value(f *float64) float64 {
	if f == nil {
		return -1
	}
	return *f
}

func TestUsage(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		path  string
		want  []float64 // CPU, user, system, memory, peak, limit, OOM kills, processes, their limit; -1: not counted
		waits []Pressure
	}{
		{"version 2", v2, "a", []float64{1.5, 1, 0.5, 4096, 8192, -1, 1, 5, 100},
			[]Pressure{{"cpu", "full", 0}, {"cpu", "some", 0.25}, {"memory", "full", 1}, {"memory", "some", 2}}},
		{"version 1", v1, "a", []float64{1.5, 1, -1, 4096, 8192, -1, 1, 5, -1}, nil},
		{"version 1, with a limit", v1, "limited", []float64{-1, -1, -1, -1, -1, 1 << 20, -1, -1, -1}, nil},
		{"no cgroup", v2, "b", []float64{-1, -1, -1, -1, -1, -1, -1, -1, -1}, nil},
	}
	for _, tt := range tests {
		root := t.TempDir()
		write(t, root, tt.files)
		u := openHierarchies(root).usage(tt.path)
		var got []float64
		for _, f := range []*float64{u.CPU, u.CPUUser, u.CPUSystem, u.Memory, u.MemoryPeak, u.MemoryLimit, u.OOMKills, u.Processes, u.ProcessesLimit} {
			got = append(got, value(f))
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(u.Pressure, tt.waits) {
			t.Errorf("%s: got %v %v, want %v %v", tt.name, got, u.Pressure, tt.want, tt.waits)
		}
	}
}

func FuzzUsage(f *testing.F) {
	f.Add("usage_usec 1\nuser_usec x\n", "some avg10=0.00 total=5\nfull total=\n", "max")
	f.Add("", "total=18446744073709551616", "-1")
	f.Fuzz(func(t *testing.T, stat, waits, n string) {
		root := t.TempDir()
		write(t, root, map[string]string{"cgroup.controllers": "", "a/cpu.stat": stat, "a/cpu.pressure": waits, "a/memory.current": n})
		u := openHierarchies(root).usage("a")
		for _, v := range []*float64{u.CPU, u.CPUUser, u.Memory} {
			if v != nil && *v < 0 {
				t.Errorf("%q %q: negative: %v", stat, n, *v)
			}
		}
	})
}

func snapshot(t testing.TB) Snapshot {
	root := t.TempDir()
	write(t, root, v2)
	return Snapshot{
		Version: "v1.2",
		Services: []Service{
			{Name: "redis", State: "running", Up: true, Ready: true, Restarts: 2, Exits: map[string]int{"signal": 1, "exit": 1},
				Start: 1500 * time.Millisecond, PID: 1, LogBytes: 2048, LogLost: 3, Usage: openHierarchies(root).usage("a")},
			{Name: "we\"b\n", State: "failed"},
		},
		Processes: []Process{{"supervisor", 90, 0.25, 20 << 20}},
		Boot: []timeline.Event{
			{At: time.Second, Stage: timeline.Onboot, Name: "000-one", Took: 500 * time.Millisecond},
			{At: 2 * time.Second, Stage: timeline.Service, Name: "redis"},
			{At: 9 * time.Second, Stage: timeline.Service, Name: "redis"},
		},
	}
}

func TestEncode(t *testing.T) {
	text, err := snapshot(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`keelson_build_info{version="v1.2"} 1.0`,
		`keelson_service_up{service="redis"} 1.0`,
		`keelson_service_up{service="we\"b\n"} 0.0`,
		`keelson_service_state{service="redis",state="running"} 1.0`,
		`keelson_service_restarts_total{service="redis"} 2.0`,
		`keelson_service_exits_total{service="redis",reason="exit"} 1.0`,
		`keelson_service_log_bytes_total{service="redis"} 2048.0`,
		`keelson_service_log_lost_bytes_total{service="redis"} 3.0`,
		`# TYPE keelson_service_cpu_seconds counter`,
		`# UNIT keelson_service_cpu_seconds seconds`,
		`keelson_service_cpu_seconds_total{service="redis"} 1.5`,
		`keelson_service_memory_bytes{service="redis"} 4096.0`,
		`keelson_service_pressure_seconds_total{service="redis",resource="memory",share="some"} 2.0`,
		`keelson_boot_stage_seconds{stage="service",name="redis"} 2.0`,
		`keelson_boot_stage_duration_seconds{stage="onboot",name="000-one"} 0.5`,
		`keelson_process_cpu_seconds_total{process="supervisor",pid="90"} 0.25`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(string(text), "limit_bytes") || strings.Contains(string(text), `memory_bytes{service="we`) || !strings.HasSuffix(string(text), "# EOF\n") {
		t.Errorf("got\n%s", text)
	}
}

// docs/metrics.md lists all metrics, and no others.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, have []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(keelson_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	for _, family := range snapshot(t).families() {
		have = append(have, family.GetName())
	}
	if !slices.Equal(listed, have) {
		t.Errorf("docs/metrics.md lists %q, want %q", listed, have)
	}
}

// This process is found, one that does not exist is not.
func TestProcesses(t *testing.T) {
	all := readProcesses(1<<22+1, []Service{{PID: 0}, {PID: os.Getpid()}, {PID: os.Getpid()}})
	if len(all) != 2 || all[0].Name != "supervisor" || all[0].PID != os.Getpid() || all[0].Resident < 1<<20 || all[1].Name != "shim" || all[1].PID != os.Getppid() {
		t.Errorf("got %+v", all)
	}
}

// A scrape of 100 services: what the kernel counts is read anew each time.
func BenchmarkScrape(b *testing.B) {
	root := b.TempDir()
	write(b, root, v2)
	b.ReportAllocs()
	for b.Loop() {
		services, cgroups := make([]Service, 100), openHierarchies(root)
		for i := range services {
			services[i] = Service{Name: "service", State: "running", PID: os.Getpid(), Usage: cgroups.usage("a")}
		}
		text, err := Snapshot{Services: services, Processes: readProcesses(0, services)}.Encode()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
	}
}

// What service list asks of the kernel at 100 services.
func BenchmarkRead(b *testing.B) {
	root := b.TempDir()
	write(b, root, v2)
	b.ReportAllocs()
	for b.Loop() {
		cgroups := openHierarchies(root)
		cgroups.waits = false
		for range 100 {
			if u := cgroups.usage("a"); u.Memory == nil || u.Pressure != nil {
				b.Fatalf("%+v", u)
			}
		}
	}
}
