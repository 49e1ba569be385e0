package ctr

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// TestLive uses the containerd of a booted system. ctr runs on its root, as in a container
// that binds /run.
func TestLive(t *testing.T) {
	tree := t.TempDir()
	nstest.Tree(t, tree)
	const bundle = "/containers/services/web"
	nstest.Bundle(t, filepath.Join(tree, bundle), "exec sleep 100000", nil,
		fmt.Sprintf(`{"mounts":[{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]}]}`, bundle))
	s := nstest.Boot(t, tree, nstest.Options{})
	s.Stage(timeline.Ready)
	l := live{t, s}
	t.Run("lists", l.lists)
	t.Run("exec", l.exec)
	t.Run("terminal", l.terminal)
	t.Run("pause", l.pause)
	l.kill(t)
	s.Signal(syscall.SIGUSR2)
	s.Wait()
}

// fifoDir is the folder of the FIFOs of processes.
const fifoDir = "/run/containerd/fifo"

type live struct {
	t *testing.T
	s *nstest.System
}

func (l live) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/bin/ctr", append([]string{"-n", "services.linuxkit"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: l.s.Root}
	return cmd
}

// run returns the output of ctr, with standard error, and its exit code.
func (l live) run(t *testing.T, input string, args ...string) (string, int) {
	t.Helper()
	cmd := l.command(args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (l live) want(t *testing.T, want string, args ...string) {
	t.Helper()
	if out, code := l.run(t, "", args...); code != 0 || strings.Join(strings.Fields(out), " ") != want {
		t.Errorf("%q: exit code %d, %q, want %q", args, code, out, want)
	}
}

// pid returns the process of the service that ctr prints.
func (l live) pid(t *testing.T) string {
	t.Helper()
	out, _ := l.run(t, "", "tasks", "ls")
	fields := strings.Fields(out)
	if len(fields) != 6 {
		t.Fatalf("tasks ls: %q", out)
	}
	return fields[4]
}

func (l live) lists(t *testing.T) {
	pid := l.pid(t)
	l.want(t, "TASK PID STATUS web "+pid+" RUNNING", "tasks", "ls")
	l.want(t, "web", "tasks", "ls", "-q")
	l.want(t, "PID INFO "+pid+" -", "tasks", "ps", "web")
	l.want(t, "CONTAINER IMAGE RUNTIME web - io.containerd.runc.v2", "containers", "ls")
	l.want(t, "services.linuxkit", "namespaces", "ls", "-q")
	var info struct {
		ID   string
		Spec struct{ Root struct{ Path string } }
	}
	out, _ := l.run(t, "", "containers", "info", "web")
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.ID != "web" || info.Spec.Root.Path == "" {
		t.Errorf("containers info: %v: %s", err, out)
	}
	if out, code := l.run(t, "", "tasks", "ps", "nobody"); code != 1 || !strings.Contains(out, "nobody") {
		t.Errorf("a task that does not exist: exit code %d, %q", code, out)
	}
	if out, code := l.run(t, "", "-a", "/run/nothing.sock", "tasks", "ls"); code != 1 || !strings.Contains(out, "/run/nothing.sock") {
		t.Errorf("a socket that does not exist: exit code %d, %q", code, out)
	}
}

// The input of a program ends with that of ctr. ctr exits with the program's exit code.
func (l live) exec(t *testing.T) {
	out, code := l.run(t, "typed\n", "tasks", "exec", "--exec-id", "a", "web", "/bin/sh", "-c", "cat; echo err >&2; exit 7")
	if code != 7 || !strings.Contains(out, "typed\n") || !strings.Contains(out, "err\n") {
		t.Errorf("exit code %d, %q", code, out)
	}
	if out, code := l.run(t, "", "tasks", "exec", "--exec-id", "a", "web", "/bin/nothing"); code != 1 || !strings.Contains(out, "/bin/nothing") {
		t.Errorf("a program that does not exist: exit code %d, %q", code, out)
	}
	l.want(t, "/tmp", "tasks", "exec", "--exec-id", "a", "--cwd", "/tmp", "web", "/bin/sh", "-c", "pwd")
	l.want(t, "", "tasks", "exec", "--exec-id", "b", "-d", "web", "/bin/sleep", "100000")
	if out, _ := l.run(t, "", "tasks", "ps", "web"); !strings.Contains(out, `exec_id:"b"`) {
		t.Errorf("tasks ps: %q", out)
	}
	l.want(t, "", "tasks", "kill", "-s", "KILL", "--exec-id", "b", "web")
	if left, err := os.ReadDir(filepath.Join(l.s.Root, fifoDir)); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", fifoDir, left, err)
	}
}

func (l live) terminal(t *testing.T) {
	term := nstest.NewTerminal(t)
	tty, err := os.OpenFile(term.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	cmd := l.command("tasks", "exec", "--exec-id", "t", "-t", "web", "/bin/sh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term.Type("[ -t 0 ] && echo is-a-$((1+1))-terminal\n")
	term.Until("is-a-2-terminal")
	term.Type("exit 5\n")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("the shell ended with %s", cmd.ProcessState)
	}
}

func (l live) pause(t *testing.T) {
	pid := l.pid(t)
	l.want(t, "", "tasks", "pause", "web")
	l.want(t, "TASK PID STATUS web "+pid+" PAUSED", "tasks", "ls")
	l.want(t, "", "tasks", "resume", "web")
	l.want(t, "TASK PID STATUS web "+pid+" RUNNING", "tasks", "ls")
}

// kill kills the task. The supervisor starts it again.
func (l live) kill(t *testing.T) {
	l.want(t, "", "tasks", "kill", "-s", "9", "web")
	l.s.Line("service web: killed by SIGKILL", "restart 1")
}
