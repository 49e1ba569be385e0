package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/events"
)

var three = []control.Service{
	{Name: "api", State: "waiting", After: []string{"redis"}, Requires: []string{"redis"}},
	{Name: "redis", State: control.Running, PID: 7, Restarts: 2, LastExit: "exited 3", Bundle: "/containers/services/redis"},
	{Name: "web", State: "failed", After: []string{"api", "redis"}},
}

// look runs a command line that prints something, and returns what.
func look(t *testing.T, args string, code int) string {
	t.Helper()
	app, out, diag := appFor(t, three)
	if got := app.Run(t.Context(), strings.Fields(args)); got != code || diag.Len() > 0 {
		t.Errorf("%s: exit status %d, %s", args, got, diag)
	}
	return out.String()
}

func wantLines(t *testing.T, what, got string, want ...string) {
	t.Helper()
	at := 0
	for line := range strings.Lines(got) {
		if at < len(want) && regexp.MustCompile("^"+want[at]+"$").MatchString(strings.TrimRight(line, " \n")) {
			at++
		}
	}
	if at < len(want) {
		t.Errorf("%s: no line %q in\n%s", what, want[at], got)
	}
}

// The status of one service is a screen with all that is known of it.
func TestStatusScreen(t *testing.T) {
	wantLines(t, "status", look(t, "status redis", 0),
		`redis: running for .*`, `  process +7`, `  restarts +2; its container last exited 3`, `  memory +3.0MiB / 64.0MiB, peak 4.0MiB`, `  cpu +1.50s`, `  processes +5`,
		`  bundle +/containers/services/redis`, `  version +of the image`, `  before +api web`,
		`  restart +always, after 100ms to 30s`, `  stop +SIGTERM, killed after 10s`, `  ready +tcp:6379`, `  cpu limit +0.50 processors`, `  mounts +/tmp from tmpfs \(ro\)`,
		`STARTED +PID +LASTED +END`, `\S+ +7 +\S+ +runs`, `\S+ +- +0.0s +did not start: no such file`, `\S+ +5 +\S+ +exited 3`)
	wantLines(t, "status of one that waits", look(t, "status api", 3), `api: waiting for -`, `  after +redis`, `  requires +redis`, `  before +web`)
}

func TestListUse(t *testing.T) {
	wantLines(t, "list", look(t, "list", 0), `NAME +STATE +PID +FOR +RESTARTS +MEMORY +CPU +STATUS`, `api +waiting +- +- +0 +- +- +-`, `redis +running +7 +- +2 +3.0MiB +1.50s +exited 3`)
}

func TestStats(t *testing.T) {
	wantLines(t, "stats", look(t, "stats --no-stream redis", 0), `NAME +STATE +CPU % +CPU TIME +MEMORY / LIMIT +PROCESSES +RESTARTS +FOR`, `redis +running +- +1.50s +3.0MiB / 64.0MiB +5 +2 +-`)
	var all []control.Usage
	if text := look(t, "stats --json", 0); json.Unmarshal([]byte(text), &all) != nil || len(all) != 1 || *all[0].Memory != 3<<20 {
		t.Errorf("%s", text)
	}
	if text := look(t, "stats --json web", 0); text != "[]\n" {
		t.Errorf("one without a cgroup: %s", text)
	}
}

func TestUsageTable(t *testing.T) {
	usages := func(at time.Duration, a, b float64) control.Usages {
		return control.Usages{At: at, Services: []control.Usage{{Name: "a", CPUSeconds: &a, Memory: number(1)}, {Name: "b", CPUSeconds: &b, Memory: number(2)}}}
	}
	services := []control.Service{{Name: "a", Restarts: 1}, {Name: "b"}, {Name: "c"}}
	before := sample{services: services, usages: usages(time.Second, 1, 5)}
	now := sample{services: services, usages: usages(3*time.Second, 2, 4.9)} // b has another cgroup.
	for order, want := range map[string]string{byCPU: "abc", byMemory: "bac", byName: "abc", byRestarts: "abc"} {
		got := ""
		for _, row := range usageTable(now, before, order)[1:] {
			got += row[0].text
			if load := row[2].text; (row[0].text == "a") != (load == "50.0") || row[0].text != "a" && load != "-" {
				t.Errorf("%s: load %s", row[0].text, load)
			}
		}
		if got != want {
			t.Errorf("by %s: %s, want %s", order, got, want)
		}
	}
}

// A frame has the size of the terminal, whatever that is.
func TestFrame(t *testing.T) {
	v := &screen{order: byCPU}
	s := sample{services: three, usages: control.Usages{CPUs: 2, At: time.Minute, Memory: &control.Memory{Total: 2 << 30, Available: 1536 << 20}}}
	if text := v.frame(s, sample{}, "", 100, 24, false); !strings.Contains(text, "services run, 2 processors, memory 512.0MiB of 2.0GiB used, up 1m0s") {
		t.Errorf("the head is not in %q", text)
	}
	for _, size := range [][2]int{{80, 24}, {20, 4}, {1, 1}, {300, 100}} {
		text := v.frame(s, sample{}, "", size[0], size[1], true)
		lines := strings.Split(text, "\r\n")
		if len(lines) > size[1] || !strings.HasPrefix(text, home) || !strings.HasSuffix(text, clearRest) {
			t.Errorf("%v: %d lines: %q", size, len(lines), text)
		}
		for _, line := range lines {
			if n := len([]rune(regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]").ReplaceAllString(line, ""))); n > size[0] {
				t.Errorf("%v: %d letters: %q", size, n, line)
			}
		}
	}
	if text := v.frame(s, sample{}, "the supervisor has gone", 80, 24, false); !strings.Contains(text, "the supervisor has gone") {
		t.Errorf("%q", text)
	}
	if got := fit("a\x1b[32mbcd\x1b[0mé", 2); got != "a\x1b[32mb\x1b[0m" {
		t.Errorf("%q", got)
	}
}

func TestGraph(t *testing.T) {
	if got, want := look(t, "graph", 0), "redis running\n├─ api waiting (requires redis)\n│  └─ web failed\n└─ web failed\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	got := look(t, "graph --dot", 0)
	for _, want := range []string{"digraph services {\n", "\n  \"redis\" -> \"api\" [style=bold];\n", "\n  \"redis\" -> \"web\";\n", "\n  \"web\" [tooltip=\"failed\", color=red];\n", "}\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	cycle := []control.Service{{Name: "a", After: []string{"b"}}, {Name: "b", After: []string{"a"}}}
	if got := treeText(cycle, false); strings.Count(got, "\n") != 3 {
		t.Errorf("%q", got)
	}
}

func TestInspect(t *testing.T) {
	text := look(t, "inspect redis", 0)
	var i control.Inspection
	if err := json.Unmarshal([]byte(text), &i); err != nil || !i.Effective || i.Settings["keelson.ready"] != "tcp:6379" || !strings.Contains(text, "18446744073709551615") {
		t.Errorf("%v: %s", err, text)
	}
	app, _, diag := appFor(t, three)
	if code := app.Run(t.Context(), []string{"inspect", "redsi"}); code != control.CodeNotFound || !strings.Contains(diag.String(), "no such service: redsi: did you mean redis?") {
		t.Errorf("%d, %s", code, diag)
	}
}

// The boot is shown in all ways, on the machine and elsewhere.
func TestBoot(t *testing.T) {
	for _, args := range []string{"boot", "boot --json", "onboot", "onboot --json", "blame", "blame --json", "timeline", "timeline --svg -"} {
		app, out, _ := appFor(t, three)
		app.Machine = nil
		if code := app.Run(t.Context(), strings.Fields(args)); code != control.CodeOK || out.String() != look(t, args, 0) {
			t.Errorf("%s elsewhere: %d, %s", args, code, out)
		}
	}
	wantLines(t, "onboot", look(t, "onboot", 0), `NAME +AT +TOOK +RESULT`, `000-a +0.900s +0.500s +exited 0`)
	wantLines(t, "boot", look(t, "boot", 0), ` +AT +TOOK +STAGE +NAME +RESULT`, `0.900s +0.500s  \.{9}#{12}\.{3}  onboot +000-a +exited 0`, `1.000s +- .* ready +- +1 service running`)
	wantLines(t, "blame", look(t, "blame", 0), ` +0.500s \* onboot 000-a`, ` +0.400s \* kernel`, ` +0.100s \* service redis`)
	wantLines(t, "timeline", look(t, "timeline", 0), `0.000s +0.400s +\* +#{9}\.{15}  kernel`, `0.900s +0.100s +\* +\.{21}#{3}  service redis`)
	file := filepath.Join(t.TempDir(), "boot.svg")
	look(t, "timeline --svg "+file, 0)
	if text, err := os.ReadFile(file); err != nil || string(text) != look(t, "timeline --svg -", 0) || !strings.Contains(string(text), `class="critical"`) {
		t.Errorf("%v, %s", err, text)
	}
}

func TestBars(t *testing.T) {
	for _, c := range [][3]time.Duration{{0, 0, 0}, {0, 1, 1}, {5, 9, 4}, {-5, -1, 10}, {0, 1 << 40, 10}, {10, 10, 10}} {
		if got := bars(c[0], c[1], c[2]); len(got) != barWidth {
			t.Errorf("%v: %q", c, got)
		}
	}
}

// Runs are derived from whatever events are kept.
func TestRuns(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	end := func(s, pid int) events.Event {
		return events.Event{Time: at(s), From: "running", To: "backoff", PID: pid, Exit: &events.Exit{Code: 1}}
	}
	up := func(s, pid int) events.Event {
		return events.Event{Time: at(s), From: "activating", To: "running", PID: pid}
	}
	for name, c := range map[string]struct {
		events []events.Event
		want   []run
	}{
		"none":               {nil, nil},
		"begin not kept":     {[]events.Event{end(5, 1), up(7, 2)}, []run{{pid: 2, begin: at(7)}, {pid: 1, end: at(5), how: "exited 1"}}},
		"end not seen":       {[]events.Event{up(1, 1), up(9, 2)}, []run{{pid: 2, begin: at(9)}, {pid: 1, begin: at(1)}}},
		"several of one run": {[]events.Event{up(1, 1), up(2, 1), end(3, 1)}, []run{{pid: 1, begin: at(1), end: at(3), how: "exited 1"}}},
		"stopped by the supervisor": {[]events.Event{up(1, 1), {Kind: events.Service, Time: at(3), From: "failing", To: "backoff", PID: 1, Exit: &events.Exit{Code: 1}, Text: "memory pressure: short"}},
			[]run{{pid: 1, begin: at(1), end: at(3), how: "exited 1: memory pressure: short"}}},
		"only the last five": {[]events.Event{end(1, 1), end(2, 2), end(3, 3), end(4, 4), end(5, 5), end(6, 6)}, nil},
	} {
		got := runsOf(c.events)
		if name == "only the last five" {
			if len(got) != shownRuns || got[0].pid != 6 {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %+v, want %+v", name, got[i], c.want[i])
			}
		}
	}
}
