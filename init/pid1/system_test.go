package pid1

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// system creates the root of a system with the guest's real programs, a shell and files.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	tier.Root(t)
	tier.Tool(t, "busybox", "busybox-static")
	dir := t.TempDir()
	nstest.Tree(t, dir)
	busybox, err := exec.LookPath("busybox")
	must(t, err)
	program, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "bin/sh"), program, 0o755))
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			must(t, os.Symlink(to, path))
		} else {
			must(t, os.WriteFile(path, []byte(text), 0o755))
		}
	}
	return dir
}

// container adds a container at path that runs a shell script and has /run mounted.
// Annotations are given as KEY=VALUE without prefix.
func container(t *testing.T, dir, path, script string, annotations ...string) {
	t.Helper()
	all := map[string]string{}
	for _, a := range annotations {
		key, value, _ := strings.Cut(a, "=")
		all["keelson."+key] = value
	}
	nstest.Bundle(t, filepath.Join(dir, path), script, all, fmt.Sprintf(`{"mounts":[
		{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]},
		{"destination":"run","source":"/run","options":["rbind"]}]}`, path))
}

// events returns the events of some stages, as "STAGE NAME: RESULT".
func events(console string, stages ...string) []string {
	var found []string
	for line := range strings.Lines(console) {
		if e, ok := timeline.ParseLine(line); ok && slices.Contains(stages, e.Stage) {
			found = append(found, strings.TrimSpace(e.Stage+" "+e.Name)+": "+e.Result)
		}
	}
	return found
}

func wantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const shell = "#!/bin/sh\n"

// Scripts run between init's steps in name order, LinuxKit's own scripts are skipped, and
// a failure affects only the script itself.
func TestScripts(t *testing.T) {
	report := shell + "echo script $(basename $0): $(ls /containers/volumes/v/merged) $(service status web | head -n1 | cut -c1-3)\n"
	files := map[string]string{
		"etc/issue":                         "welcome\n",
		"etc/init.d/000-issue":              shell + "echo issued\n",
		"etc/init.d/001-first":              shell + "exit 4\n",
		"etc/init.d/002-odd":                "no program\n",
		"etc/init.d/003-readme":             "-> /nowhere",
		"etc/init.d/004-killed":             shell + "kill -9 $$\n",
		"etc/init.d/005-volumes":            "-> ../../usr/bin/service",
		"etc/init.d/007-between":            report,
		"etc/init.d/010-onboot":             "-> /usr/bin/service",
		"etc/init.d/015-after":              shell + "read x && exit 9; echo >/run/after\n",
		"etc/init.d/999-late":               report,
		"etc/shutdown.d/005-bye":            shell + "test -e /run/after\n",
		"etc/shutdown.d/020-last":           shell + "exit 2\n",
		"containers/volumes/v/lower/volume": "", "containers/volumes/v/merged/.keep": "",
	}
	dir := system(t, files)
	must(t, os.Symlink("/usr/bin/service", filepath.Join(dir, "etc/init.d/020-containerd")))
	must(t, os.MkdirAll(filepath.Join(dir, "etc/shutdown.d"), 0o755))
	must(t, os.Symlink("/usr/bin/service", filepath.Join(dir, "etc/shutdown.d/010-onshutdown")))
	for _, applet := range []string{"basename", "ls", "head", "cut"} {
		must(t, os.Symlink("sh", filepath.Join(dir, "bin", applet)))
	}
	container(t, dir, "/containers/onboot/000-one", "echo one")
	container(t, dir, "/containers/onshutdown/000-down", "echo down")
	container(t, dir, "/containers/services/web", "exec sleep 1000")
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Line("script init.d/999-late:")
	up := s.Console()
	wantEvents(t, events(up, "volumes", "script", "onboot", "ready"),
		"script init.d/001-first: exited 4",
		"script init.d/002-odd: failed: cannot start it: neither a program nor a script that begins with #!: fork/exec /etc/init.d/002-odd: exec format error",
		"script init.d/003-readme: failed: not run: not executable",
		"script init.d/004-killed: killed by SIGKILL",
		"volumes: 1 mounted", "script init.d/007-between: exited 0", "onboot 000-one: exited 0", "script init.d/015-after: exited 0",
		"ready: 1 services running", "script init.d/999-late: exited 0")
	if strings.Contains(up, "issued") || strings.Count(up, "welcome") != 1 || !strings.Contains(up, "script 007-between: volume") || !strings.Contains(up, "script 999-late: volume web") {
		t.Error("unexpected output of scripts or of /etc/issue")
	}
	s.Signal(syscall.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	s.Line("shutdown mounts: unmounted")
	got := events(s.Console(), "script", "shutdown")
	wantEvents(t, got[len(got)-8:], "shutdown: power off", "script shutdown.d/005-bye: exited 0", "shutdown 000-down: exited 0",
		"script shutdown.d/020-last: exited 2", "shutdown services: exited 0", "shutdown containerd: exited 0",
		"shutdown processes: ended", "shutdown mounts: unmounted")
}

// A script that hangs does not prevent the shutdown.
func TestHangingScript(t *testing.T) {
	dir := system(t, map[string]string{"etc/init.d/001-hang": shell + "echo hanging; read x </run/fifo\n", "etc/init.d/000-a": shell + "mkfifo /run/fifo\n"})
	must(t, os.Symlink("sh", filepath.Join(dir, "bin/mkfifo")))
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Line("hanging")
	began := time.Now()
	s.Signal(syscall.SIGUSR1)
	if code, took := s.Wait(), time.Since(began); code != codeDone || took > roleGrace {
		t.Errorf("exit code %d after %v", code, took)
	}
	s.Line("script init.d/001-hang: failed:")
}
