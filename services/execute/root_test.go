package execute

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// TestLive runs programs in a service of a booted system, as a person does.
func TestLive(t *testing.T) {
	tree := t.TempDir()
	nstest.Tree(t, tree)
	const bundle = "/containers/services/web"
	nstest.Bundle(t, filepath.Join(tree, bundle), "exec sleep 100000", nil,
		fmt.Sprintf(`{"mounts":[{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]}]}`, bundle))
	s := nstest.Boot(t, tree, nstest.Options{})
	s.Stage(timeline.Ready)
	l := live{t, s}
	t.Run("exec", l.exec)
	t.Run("terminal", l.terminal)
	t.Run("client goes", l.clientGoes)
	t.Run("containerd is killed", l.containerdIsKilled)
	if out, err := l.command("kill", "-s", "KILL", "web").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("service kill: %v, %s", err, out)
	}
	s.Line("service web: killed by SIGKILL", "restart 1")
	if left, err := os.ReadDir(filepath.Join(s.Root, fifoDir)); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", fifoDir, left, err)
	}
	s.Signal(syscall.SIGUSR2)
	s.Wait()
}

type live struct {
	t *testing.T
	s *nstest.System
}

func (l live) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/bin/service", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: l.s.Root}
	return cmd
}

func (l live) exec(t *testing.T) {
	megabyte := strings.Repeat("0123456789abcde\n", 1<<16)
	for _, tt := range []struct {
		input, args string
		script      string
		out, err    string // a prefix
		code        int
	}{
		{"", "exec web sh -c", "echo out; echo err >&2; exit 7", "out\n", "err\n", 7},
		{"typed", "exec -i web sh -c", "cat; echo :", "typed:\n", "", 0},
		{"typed", "exec web sh -c", "cat; echo :", ":\n", "", 0}, // Without -i there is no input.
		{megabyte, "exec -i web cat", "", megabyte, "", 0},
		{megabyte, "exec -i web true", "", "", "", 0}, // It does not read.
		{"", "exec -e A=1 -e PATH=/bin -w /tmp web sh -c", "echo $A $PATH; pwd", "1 /bin\n/tmp\n", "", 0},
		{"", "exec -u 7:8 web sh -c", "id -u; id -g", "7\n8\n", "", 0},
		{"", "exec web sh -c", "kill -TERM $$", "", "", 128 + 15},
		{"", "exec web nothing", "", "", "service: exec: cannot start process", 127},
		{"", "exec web /tmp", "", "", "service: exec: cannot ", 126},
		{"", "exec -u nobody web true", "", "", `service: exec: user "nobody": `, 2},
		{"", "exec none true", "", "", "service: exec: no such service: none", 4},
		{"", "exec -t web true", "", "", "service: exec: -t needs a terminal", 2},
		{"echo $((6*7))\nexit 3\n", "shell web", "", "42\n", "", 3},
	} {
		args := strings.Fields(tt.args)
		if tt.script != "" {
			args = append(args, tt.script)
		}
		cmd := l.command(args...)
		var out, diag bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(tt.input), &out, &diag
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || out.String() != tt.out || !strings.HasPrefix(diag.String(), tt.err) || tt.err == "" && diag.Len() > 0 {
			t.Errorf("%s %s: exit code %d, want %d; output %.80q, want %.80q; %.200q, want %q", tt.args, tt.script, code, tt.code, out.String(), tt.out, diag.String(), tt.err)
		}
	}
}

func (l live) terminal(t *testing.T) { l.s.CheckShell(t, l.command("shell", "web"), "") }

// A program ends with its client, also one that neither reads nor writes, and one whose output and
// input wait for the client.
func (l live) clientGoes(t *testing.T) {
	scripts := []string{"yes", "echo; exec sleep 100001"}
	for range 20 { // The client also goes before it is known that the program has started.
		scripts = append(scripts, "sleep 100001")
	}
	for i, script := range scripts {
		marker := fmt.Sprintf("KEELSON_MARKER=%d", i)
		cmd := l.command("exec", "-i", "-e", marker, "web", "sh", "-c", script)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = endless{} // More than the connection holds.
		cmd.Stdout = w        // Nobody reads it.
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.until(t, "the program runs", func() bool { return l.runs(marker) })
		_ = cmd.Process.Kill()
		l.until(t, "the program has ended", func() bool { return !l.runs(marker) })
		r.Close()
		w.Close()
		_ = cmd.Wait()
	}
}

func (l live) until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			for _, p := range l.s.Processes() {
				t.Log(p)
			}
			t.Fatalf("not so after a minute: %s", what)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// runs reports whether a process of a container has a variable in its environment.
func (l live) runs(variable string) bool {
	for _, p := range l.s.Processes() {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID)) // It may have ended.
		if bytes.Contains(env, []byte(variable+"\x00")) {
			return true
		}
	}
	return false
}

// A session lasts when containerd is restarted, and the exit code arrives.
func (l live) containerdIsKilled(t *testing.T) {
	cmd := l.command("exec", "-i", "web", "sh", "-c", "echo begun; read x; exit 9")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range l.s.Named("containerd") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	l.s.Line("containerd", "killed")
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("the client ended with %s", cmd.ProcessState)
	}
}
