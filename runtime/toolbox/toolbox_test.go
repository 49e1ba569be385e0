package toolbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

func TestInnerPID(t *testing.T) {
	for text, want := range map[string]int{
		"Name:\tx\nNSpid:\t302\t7\t1\nNSpgid:\t5\n": 1, "NSpid:\t302\n": 302, "NSpid:\n": 0, "Name:\tx\n": 0, "NSpid: x\n": 0, "": 0,
	} {
		if got, err := innerPID(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzInnerPID(f *testing.F) {
	f.Add("NSpid:\t302\t1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := innerPID(text); err != nil && n != 0 && !strings.Contains(err.Error(), "range") {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A process of this one's namespaces adds none, and another one does.
func TestPlaceOf(t *testing.T) {
	p, err := placeOf("/proc", os.Getpid())
	if err != nil || len(p.namespaces) > 0 || p.pid == 0 {
		t.Errorf("own place: %+v, %v", p, err)
	}
	if p, err := placeOf("/proc", 1<<30); err == nil {
		t.Errorf("place of no process: %+v", p)
	}
}

// The specification has the namespaces of the process, and mounts that its user namespace permits.
func TestSpec(t *testing.T) {
	b := &bundle.Bundle{Spec: &specs.Spec{Process: &specs.Process{Env: []string{"PATH=/tools", "A=1"}}}}
	tools := Tools{Bundle: b, Args: []string{"sh"}, Env: []string{"TERM=vt99"}, Terminal: true, Width: 80, Height: 24}
	its := []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: "/proc/7/ns/pid"}}
	s := tools.spec(place{namespaces: its, pid: 1, ownsPIDs: true}, "/root", "/debug-x")
	if want := append(slices.Clone(its), specs.LinuxNamespace{Type: specs.MountNamespace}); !reflect.DeepEqual(s.Linux.Namespaces, want) || len(its) != 1 {
		t.Errorf("namespaces %+v", s.Linux.Namespaces)
	}
	if want := []string{"PATH=/tools", "A=1", "HOME=/root", "TERM=vt99"}; !slices.Equal(s.Process.Env, want) || *s.Process.ConsoleSize != (specs.Box{Width: 80, Height: 24}) {
		t.Errorf("process %+v", s.Process)
	}
	kinds := map[string]string{}
	for _, m := range s.Mounts {
		kinds[m.Destination] = m.Type
	}
	if kinds["/proc"] != "proc" || kinds["/sys"] != "bind" || kinds["/sys/fs/cgroup"] != "" || s.Linux.CgroupsPath != "/debug-x" {
		t.Errorf("mounts %+v", s.Mounts)
	}
	all := place{ownsPIDs: true, ownsNetwork: true, ownsCgroups: true}.mounts(false)
	if !slices.ContainsFunc(all, func(m specs.Mount) bool { return m.Destination == "/sys/fs/cgroup" }) {
		t.Errorf("mounts %+v", all)
	}
	tools.Machine = true
	s = tools.spec(place{pid: 1, ownsPIDs: true}, "/root", "/debug-x")
	if devices := s.Linux.Resources.Devices; len(devices) != 1 || !devices[0].Allow || tools.link() != MachineDir {
		t.Errorf("devices %+v, link %s", devices, tools.link())
	}
	for _, m := range s.Mounts {
		if m.Destination != "/tmp" && (m.Type != "bind" || m.Source != m.Destination) {
			t.Errorf("mount %+v", m)
		}
	}
	if env := (Tools{Bundle: &bundle.Bundle{}}).env(); !slices.Equal(env, []string{defaultPath, "HOME=/root"}) {
		t.Errorf("environment %q", env)
	}
}

// The record of a process that lives stays, that of one that has died is removed, and other files of the
// folder stay.
func TestSweep(t *testing.T) {
	if os.Getenv(recordMarker) != "" {
		if _, err := newRecord(os.Getenv(recordMarker)); err != nil {
			t.Fatal(err)
		}
		return // The process ends with its lock.
	}
	dir := t.TempDir()
	if err := sweep(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
	r, err := newRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestSweep$")
	child.Env = append(os.Environ(), recordMarker+"="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"other", "debug-..", "debug-" + strconv.Itoa(1)} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 5 {
		t.Fatalf("%d files", len(entries))
	}
	if err := sweep(dir); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 || !r.exists() {
		t.Errorf("%v, %v", entries, err)
	}
	if err := r.remove(); err != nil || r.exists() {
		t.Error(err)
	}
}

const recordMarker = "KEELSON_RECORD"
