package pid1

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

const ask = "rescue> "

// stuck returns a system whose second onboot container fails until the file /run/repaired
// exists.
func stuck(t *testing.T) string {
	dir := system(t, nil)
	container(t, dir, "/containers/onboot/000-good", "exit 0")
	container(t, dir, "/containers/onboot/001-bad", "echo no /run/repaired; test -e /run/repaired", "on-failure=rescue")
	container(t, dir, "/containers/onboot/002-last", "exit 0")
	container(t, dir, "/containers/services/web", "exec sleep 1000")
	return dir
}

// Without a shell in the image there is the prompt. There the failed container can be
// inspected and run again until it succeeds; then the boot continues.
func TestRescuePrompt(t *testing.T) {
	term := nstest.NewTerminal(t)
	s := nstest.Boot(t, stuck(t), nstest.Options{Terminal: term})
	term.Until(ask)
	term.Type("list\r")
	if list := term.Until(ask); !strings.Contains(list, "exited 0") || !strings.Contains(list, "rescue (keelson.on-failure=rescue)") || !strings.Contains(list, "to come") {
		t.Errorf("list: %s", list)
	}
	term.Type("log bad\r")
	term.Until("no /run/repaired")
	term.Until(ask)
	term.Type("retry\r")
	term.Until(ask)
	must(t, os.WriteFile(filepath.Join(s.Root, "run/repaired"), nil, 0o644))
	term.Type("retry\r")
	if e := s.Stage(timelineReady...); e.Stage != "ready" {
		t.Errorf("got %v", e)
	}
	wantEvents(t, events(s.Console(), "onboot", "rescue", "ready"), "onboot 000-good: exited 0", "onboot 001-bad: exited 1",
		"rescue: onboot 001-bad failed", "onboot 001-bad: exited 1", "onboot 001-bad: exited 0", "rescue: continuing",
		"onboot 002-last: exited 0", "ready: 1 services running")
	if r := s.File("/run/keelson/onboot/001-bad.json"); !strings.Contains(r, `"attempts":3,"decision":"it took 3 attempts"`) {
		t.Errorf("result %s", r)
	}
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
}

// The answers that shut the system down, and continuing without the failed container.
func TestRescueAnswers(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for typed, notFirst := range map[string]bool{"reboot": true, "poweroff": false, "halt": false} {
			term := nstest.NewTerminal(t)
			s := nstest.Boot(t, stuck(t), nstest.Options{Terminal: term, NotFirst: notFirst})
			term.Until(ask)
			term.Type(typed + "\r")
			if code := s.Wait(); code != ends[typed] {
				t.Errorf("%s: exit code %d", typed, code)
			}
			s.Line("shutdown mounts: unmounted")
			if strings.Contains(s.Console(), "002-last: ") {
				t.Errorf("%s: the next container ran", typed)
			}
		}
	})
	term := nstest.NewTerminal(t)
	s := nstest.Boot(t, stuck(t), nstest.Options{Terminal: term})
	term.Until(ask)
	term.Type("continue\r")
	s.Stage("ready")
	s.Line("onboot 002-last: exited 0")
	if r := s.File("/run/keelson/onboot/001-bad.json"); !strings.Contains(r, `"decision":"rescue (keelson.on-failure=rescue), then continuing"`) {
		t.Errorf("result %s", r)
	}
	s.Signal(unix.SIGUSR2)
	s.Wait()
}

// withPts gives a container its own terminals, as LinuxKit's CLI does, and mounts the
// host's root on its /tmp.
func withPts(t *testing.T, path string) {
	t.Helper()
	file := filepath.Join(path, "config.json")
	data, err := os.ReadFile(file)
	must(t, err)
	var spec specs.Spec
	must(t, json.Unmarshal(data, &spec))
	spec.Mounts = append(spec.Mounts,
		specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}},
		specs.Mount{Destination: "/tmp", Type: "bind", Source: "/", Options: []string{"rbind"}})
	data, err = json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(file, data, 0o644))
}

// The image's shell runs first. It has job control if the container can have a terminal
// of its own, and works otherwise.
func TestRescueShell(t *testing.T) {
	for _, pts := range []bool{true, false} {
		dir := stuck(t)
		container(t, dir, "/containers/services/sh", "exec sh -i", "role=rescue")
		if pts {
			withPts(t, filepath.Join(dir, "containers/services/sh"))
		}
		term := nstest.NewTerminal(t)
		s := nstest.Boot(t, dir, nstest.Options{Terminal: term})
		term.Until("# ")
		term.Type("case $- in *m*) echo has=jobs;; *) echo has=none;; esac\r")
		term.Until("has=" + map[bool]string{true: "jobs", false: "none"}[pts] + "\r")
		if pts {
			// The program that prints the line is then in the foreground.
			term.Type("sh -c 'echo sleeps=$((1)); exec sleep 1000'\r")
			term.Until("sleeps=1")
			term.Type("\x03") // It ends the program that runs in the shell.
			term.Until("# ")
			term.Type("echo gone=$?\r")
			term.Until("gone=130")
			term.Type("touch /tmp/run/repaired\r")
		} else {
			term.Type("touch /run/repaired\r")
		}
		term.Type("exit 7\r")
		s.Line("the rescue shell has ended", "exited 7")
		term.Until(ask)
		term.Type("retry\r")
		s.Stage("ready")
		list := s.Output("/usr/bin/service", "list")
		if strings.Contains(list, "\nsh ") || !strings.Contains(list, "\nweb ") {
			t.Errorf("services:\n%s", list)
		}
		s.Signal(unix.SIGUSR2)
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
	}
}

// If the shell cannot be started, the reason is reported and the prompt appears.
func TestRescueShellBroken(t *testing.T) {
	dir := stuck(t)
	container(t, dir, "/containers/rescue/sh", "exec sh -i")
	must(t, os.Remove(filepath.Join(dir, "containers/rescue/sh/rootfs/bin/busybox")))
	term := nstest.NewTerminal(t)
	s := nstest.Boot(t, dir, nstest.Options{Terminal: term})
	term.Until(ask)
	s.Line("the rescue shell has ended", "container=sh", "/bin/sh")
	term.Type("halt\r")
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
}

// Signals to PID 1 shut the system down at the prompt, in the rescue shell, without a
// terminal, and when rescue is forbidden. With keelson.rescue, no container runs before.
func TestRescueEndsBySignal(t *testing.T) {
	for _, tc := range []struct {
		name, line      string
		terminal, shell bool
	}{
		{"prompt", "keelson.rescue", true, false}, {"shell", "keelson.rescue", true, true},
		{"nobody", "keelson.rescue", false, true}, {"forbidden", "keelson.rescue=off", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := stuck(t)
			if tc.shell {
				container(t, dir, "/containers/rescue/sh", "exec sh -i")
				withPts(t, filepath.Join(dir, "containers/rescue/sh"))
			}
			o := nstest.Options{CmdLine: tc.line}
			term := nstest.NewTerminal(t)
			if tc.terminal {
				o.Terminal = term
			}
			s := nstest.Boot(t, dir, o)
			switch tc.name {
			case "prompt":
				term.Until(ask)
			case "shell":
				term.Until("# ")
			case "nobody":
				s.Line("cannot open a terminal for the rescue prompt", "error=")
				s.Line("rescue: waiting to be rebooted, powered off or halted")
			case "forbidden":
				s.Line("waiting to be rebooted, powered off or halted (keelson.on-failure=rescue, keelson.rescue=off)")
			}
			began := time.Now()
			s.Signal(unix.SIGTERM)
			if code, took := s.Wait(), time.Since(began); code != codeReboot || took > time.Minute {
				t.Errorf("exit code %d after %v", code, took)
			}
			if ran := strings.Contains(s.Console(), "000-good: "); ran != (tc.name == "forbidden") {
				t.Errorf("the first container ran: %v", ran)
			}
		})
	}
}
