package scripts

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const executable = 0o755

func TestPlan(t *testing.T) {
	up := []string{Volumes, Onboot, Containerd}
	for _, tc := range []struct {
		name    string
		entries []Entry
		steps   []string
		want    string
	}{
		{"none", nil, up, "[005-volumes] [010-onboot] [020-containerd]"},
		{"between", []Entry{
			{"999-late", executable, ""}, {"004-a", executable, ""}, {"007-b", executable, ""}, {"015-c", 0o700, ""}, {"000-first", executable, ""},
		}, up, "000-first 004-a [005-volumes] 007-b [010-onboot] 015-c [020-containerd] 999-late"},
		{"around a name", []Entry{{"010-eve-cgroup", executable, ""}, {"010-zzz", executable, ""}}, up,
			"[005-volumes] 010-eve-cgroup [010-onboot] 010-zzz [020-containerd]"},
		{"LinuxKit's own", []Entry{
			{"000-issue", executable, ""}, {"005-volumes", executable, "/usr/bin/service"}, {"010-onboot", executable, "../../usr/bin/service"},
			{"020-containerd", executable, ""}, {"030-gone", 0, "/usr/bin/service"}, {"031-link", executable, "/usr/bin/other"},
		}, up, "[005-volumes] [010-onboot] [020-containerd] 031-link"},
		{"no programs", []Entry{
			{"001-folder", fs.ModeDir | executable, ""}, {"002-fifo", fs.ModeNamedPipe | executable, ""}, {".hidden", executable, ""},
			{"003-readme", 0o644, ""}, {"004-dangling", 0, "/nowhere"},
		}, up, "!003-readme !004-dangling [005-volumes] [010-onboot] [020-containerd]"},
		{"down", []Entry{{"010-onshutdown", executable, "/usr/bin/service"}, {"005-a", executable, ""}, {"rc", executable, ""}},
			[]string{Onshutdown}, "005-a [010-onshutdown] rc"},
	} {
		var got []string
		for _, i := range Plan(tc.entries, tc.steps...) {
			got = append(got, map[Kind]string{Step: "[" + i.Name + "]", Script: i.Name, Unusable: "!" + i.Name}[i.Kind])
		}
		if text := strings.Join(got, " "); text != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, text, tc.want)
		}
	}
	if plan := Plan([]Entry{{"999", executable, ""}}, up...); !After(plan, Containerd) || After(Plan(nil, up...), Containerd) {
		t.Error("After does not find the script after the services, or finds one in a plan without scripts")
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("010-onboot", uint32(0o755), "/usr/bin/service", "030-x", uint32(0o644), "")
	f.Add("a/b", uint32(0), "", ".", uint32(0o111), "service")
	f.Fuzz(func(t *testing.T, n1 string, m1 uint32, l1, n2 string, m2 uint32, l2 string) {
		steps := []string{Volumes, Onboot, Containerd}
		plan := Plan([]Entry{{n1, fs.FileMode(m1), l1}, {n2, fs.FileMode(m2), l2}}, steps...)
		var own, names []string
		for _, i := range plan {
			if i.Kind == Step {
				own = append(own, i.Name)
			}
			names = append(names, i.Name)
		}
		if !slices.Equal(own, steps) {
			t.Fatalf("steps %q", own)
		}
		if !slices.IsSorted(names) || len(slices.Compact(names)) != len(plan) || slices.Contains(names, "") {
			t.Fatalf("names %q", names)
		}
	})
}

// folder creates a folder with files: shell scripts, and links ("-> TARGET").
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(text), executable)
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			_ = os.Remove(path)
			err = os.Symlink(to, path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	dir := folder(t, map[string]string{"1-script": "#!/bin/sh\n", "2-link": "-> 1-script", "3-none": "-> /no/where", "4-own": "-> /no/service", "5-chain": "-> 4-own"})
	if err := os.Mkdir(filepath.Join(dir, "6-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Item{{"1-script", Script}, {"2-link", Script}, {"3-none", Unusable}, {"5-chain", Unusable}}
	if got := Plan(entries); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if entries, err := Read(filepath.Join(dir, "none")); err != nil || entries != nil {
		t.Errorf("no folder: %v, %v", entries, err)
	}
}

func TestRun(t *testing.T) {
	never := func() { t.Error("reported as slow") }
	dir := folder(t, map[string]string{
		"good": "#!/bin/sh\nread x && exit 9\npwd >\"$0.out\"\n", "bad": "#!/bin/sh\nexit 3\n", "killed": "#!/bin/sh\nkill -SEGV $$\n",
		"background": "#!/bin/sh\nsleep 60 &\necho $! >\"$0.out\"\n",
		"no-shell":   "#!/no/such/shell\n", "text": "just text\n",
	})
	for name, want := range map[string]string{"good": "exited 0", "bad": "exited 3", "killed": "killed by SIGSEGV", "background": "exited 0"} {
		if got, err := Run(t.Context(), filepath.Join(dir, name), SlowAfter, never); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if cwd, _ := os.ReadFile(filepath.Join(dir, "good.out")); string(cwd) != "/\n" {
		t.Errorf("working directory %q", cwd)
	}
	for name, word := range map[string]string{"no-shell": "interpreter", "text": "#!", "missing": "no such file"} {
		if _, err := Run(t.Context(), filepath.Join(dir, name), SlowAfter, never); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pid, _ := os.ReadFile(filepath.Join(dir, "background.out"))
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err != nil {
		t.Errorf("a background process of a script does not run: %v", err)
	}
	if p := strings.TrimSpace(string(pid)); p != "" {
		_, _ = Run(t.Context(), filepath.Join(folder(t, map[string]string{"k": "#!/bin/sh\nkill " + p + "\n"}), "k"), SlowAfter, never)
	}
}

// A script that hangs is killed with its children when the context ends.
func TestRunEndsWithItsContext(t *testing.T) {
	path := filepath.Join(folder(t, map[string]string{"x": "#!/bin/sh\ntrap '' TERM\nmkfifo \"$0.fifo\"\nsleep 60\n"}), "x")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	var slow atomic.Int32
	if _, err := Run(ctx, path, 10*time.Millisecond, func() { slow.Add(1) }); !errors.Is(err, ErrInterrupted) || slow.Load() != 1 {
		t.Errorf("reported as slow %d times, want 1; error %v", slow.Load(), err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := Run(ctx, path, SlowAfter, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("started with a context that has ended: %v", err)
	}
}
