package scripts

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
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
