package debug

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/runtime/toolbox"
	"keelson/testvm/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// TestLive looks into services of a booted system, as a person does.
func TestLive(t *testing.T) {
	tree := t.TempDir()
	nstest.Tree(t, tree)
	bundle := func(name, script string, annotations map[string]string) string {
		dir := filepath.Join("/containers/services", name)
		nstest.Bundle(t, filepath.Join(tree, dir), script, annotations,
			fmt.Sprintf(`{"mounts":[{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]}]}`, dir))
		return filepath.Join(tree, dir, "rootfs")
	}
	web := bundle("web", "echo mine >/dev/mine; exec sleep 100000", nil)
	tools := bundle("kit", "exec sh", map[string]string{"keelson.role": "rescue"})
	bundle("other", "exec sleep 100004", nil)
	etc := func(root, name, text string) {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	etc(web, "resolv.conf", "nameserver 192.0.2.1\n")
	etc(web, "which", "web\n")
	etc(tools, "which", "kit\n")
	etc(tools, "resolv.conf", "nameserver 192.0.2.2\n")
	s := nstest.Boot(t, tree, nstest.Options{})
	s.Stage(timeline.Ready)
	l := live{t, s}
	t.Run("tools", l.tools)
	t.Run("nothing is left", l.nothingLeft)
	t.Run("terminal", l.terminal)
	t.Run("client goes", l.clientGoes)
	t.Run("session is killed", l.sessionIsKilled)
	t.Run("supervisor is killed", l.supervisorIsKilled)
	t.Run("service ends", l.serviceEnds)
	t.Run("containerd hangs", l.containerdHangs)
	t.Run("nothing is left", l.nothingLeft)
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

// first returns the first process of a service, in the numbers of this test.
func (l live) first(t *testing.T, argument string) int {
	t.Helper()
	pids := l.s.Named("sleep", argument)
	if len(pids) != 1 {
		t.Fatalf("sleep %s runs %d times", argument, len(pids))
	}
	return pids[0]
}

func (l live) tools(t *testing.T) {
	namespaces := func(argument string) (lines string) {
		for _, kind := range []string{"pid", "net", "ipc", "uts", "user", "cgroup"} {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", l.first(t, argument), kind))
			if err != nil {
				t.Fatal(err)
			}
			lines += link + "\n"
		}
		return lines
	}
	const links = "for kind in pid net ipc uts user cgroup; do busybox readlink /proc/self/ns/$kind; done"
	for _, tt := range []struct {
		input, args string
		script      string
		out, err    string // a prefix
		code        int
	}{
		{"", "debug web sh -c", "echo out; echo err >&2; exit 7", "out\n", "err\n", 7},
		{"typed", "debug web sh -c", "cat; echo :", "typed:\n", "", 0},
		{strings.Repeat("0123456789abcde\n", 1<<16), "debug web cat", "", strings.Repeat("0123456789abcde\n", 1<<16), "", 0},
		{"echo $((6*7))\nexit 3\n", "debug web", "", "42\n", "", 3},
		{"", "debug web sh -c", links, namespaces("100000"), "", 0},
		{"", "debug web cat", "/etc/which /service/etc/which /etc/resolv.conf", "kit\nweb\nnameserver 192.0.2.1\n", "", 0},
		{"", "debug web sh -c", "until cat /service/dev/mine 2>/dev/null; do :; done", "mine\n", "", 0},
		{"", "debug web sh -c", "cat /proc/1/cmdline | busybox tr '\\0' ' '", "sleep 100000 ", "", 0},
		{"", "debug web sh -c", "echo x >/etc/x && cat /etc/x && cat /proc/self/oom_score_adj", "x\n1000\n", "", 0},
		{"", "debug web cat", "/etc/x", "", "cat: can't open '/etc/x'", 1}, // It was in memory.
		{"", "debug --with other web cat", "/etc/which", "", "cat: can't open '/etc/which'", 1},
		{"", "debug web --with other -e A=1 -- sh -c", "echo $A", "1\n", "", 0},
		{"", "debug web sh -c", "kill -TERM $$", "", "", 128 + 15},
		{"", "debug web sh -c", "sleep 100005 & echo left", "left\n", "", 0},
		{"", "debug web nothing", "", "", "service: debug: ", 127},
		{"", "debug web /tmp", "", "", "service: debug: ", 126},
		{"", "debug --with nothing web", "", "", `service: debug: there is no bundle "nothing"`, 4},
		{"", "debug --with ../kit web", "", "", `service: debug: there is no bundle "../kit"`, 4},
		{"", "debug none", "", "", "service: debug: no such service: none", 4},
		{"", "debug kit", "", "", "service: debug: ", 4},
		{"echo $((6*7))\nexit 3\n", "rescue", "", "42\n", "", 3},
		{"", "rescue cat", "/etc/which /machine/containers/services/web/rootfs/etc/which", "kit\nweb\n", "", 0},
		{"", "rescue -e A=1 sh -c", "echo $A; test -c /dev/null && cat /proc/1/cmdline | busybox tr '\\0' ' '", "1\n/init ", "", 0},
		{"", "rescue sh -c", "echo x >/dev/shm/x && echo x >/machine/run/x && cat /machine/run/x && busybox rm /dev/shm/x /machine/run/x", "x\n", "", 0},
		{"", "rescue nothing", "", "", "service: rescue: ", 127},
	} {
		args := strings.Fields(tt.args)
		if strings.HasSuffix(tt.args, "cat") {
			args = append(args, strings.Fields(tt.script)...)
		} else if tt.script != "" {
			args = append(args, tt.script)
		}
		cmd := l.command(args...)
		var out, diag bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(tt.input), &out, &diag
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || out.String() != tt.out || !strings.HasPrefix(diag.String(), tt.err) || tt.err == "" && diag.Len() > 0 {
			t.Errorf("%s %s: exit code %d, want %d; output %.300q, want %.300q; %.300q, want %q", tt.args, tt.script, code, tt.code, out.String(), tt.out, diag.String(), tt.err)
		}
	}
}

// nothingLeft checks that there are no tools, mounts, cgroups and records.
func (l live) nothingLeft(t *testing.T) {
	dir := filepath.Join(l.s.Root, toolbox.Dir)
	l.until(t, "all records are removed", func() bool {
		left, err := os.ReadDir(dir)
		return errors.Is(err, fs.ErrNotExist) || err == nil && len(left) == 0
	})
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", l.s.PID()))
	if err != nil || bytes.Contains(mounts, []byte(toolbox.Dir)) {
		t.Errorf("%v, mounts:\n%s", err, mounts)
	}
	_ = filepath.WalkDir(filepath.Join(l.s.Root, "sys/fs/cgroup"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "debug-") {
			t.Errorf("left: %s", path)
		}
		return nil
	})
	for _, p := range l.s.Processes() {
		if len(p.Args) == 0 { // The first process of the container does not wait for it.
			continue
		}
		if cgroups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID)); bytes.Contains(cgroups, []byte("/debug-")) {
			t.Errorf("process %+v is left", p)
		}
	}
}

func (l live) terminal(t *testing.T) { l.s.CheckShell(t, l.command("debug", "web"), "busybox ") }

// begin starts tools that run until they are killed.
func (l live) begin(t *testing.T, args ...string) (cmd *exec.Cmd, diag *bytes.Buffer) {
	t.Helper()
	cmd, diag = l.command(append([]string{"debug"}, args...)...), &bytes.Buffer{}
	cmd.Stderr = diag
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.until(t, "the tools run", l.run)
	return cmd, diag
}

// forever are tools of which one has left the first one's session.
var forever = []string{"sh", "-c", "busybox setsid sleep 100006 & exec sleep 100007"}

func (l live) run() bool {
	return len(l.s.Named("sleep", "100006")) == 1 && len(l.s.Named("sleep", "100007")) == 1
}

func (l live) gone() bool {
	return len(l.s.Named("sleep", "100006")) == 0 && len(l.s.Named("sleep", "100007")) == 0
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

func (l live) clientGoes(t *testing.T) {
	cmd, _ := l.begin(t, append([]string{"web"}, forever...)...)
	_ = cmd.Process.Kill()
	l.until(t, "the tools have ended", l.gone)
	_ = cmd.Wait()
	l.nothingLeft(t)
}

func (l live) sessionIsKilled(t *testing.T) {
	cmd, _ := l.begin(t, append([]string{"web"}, forever...)...)
	for _, pid := range l.s.Named("service", "debug") {
		if pid != cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	l.until(t, "the tools have ended", l.gone)
	_ = cmd.Wait()
	l.nothingLeft(t)
}

// Sessions outlive the supervisor; what one leaves that dies meanwhile is removed by the next supervisor.
func (l live) supervisorIsKilled(t *testing.T) {
	kept, _ := l.begin(t, append([]string{"web"}, forever...)...)
	killed := l.command("debug", "other", "sleep", "100008")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	other := func() bool { return len(l.s.Named("sleep", "100008")) == 1 }
	l.until(t, "the tools run", other)
	var sessions []int
	l.until(t, "earlier sessions have ended", func() bool {
		sessions = l.s.Named("service", "session")
		return len(sessions) == 2
	})
	supervisors := l.s.Named("service", "supervise")
	if len(supervisors) != 1 {
		t.Fatalf("%d supervisors", len(supervisors))
	}
	_ = syscall.Kill(supervisors[0], syscall.SIGSTOP)
	_ = syscall.Kill(max(sessions[0], sessions[1]), syscall.SIGKILL) // The later one.
	_ = syscall.Kill(supervisors[0], syscall.SIGKILL)
	l.until(t, "the tools of the session have ended", func() bool { return !other() })
	_ = killed.Wait()
	if !l.run() {
		t.Error("the tools of the other session do not run any more")
	}
	_ = kept.Process.Kill()
	l.until(t, "the tools have ended", l.gone)
	_ = kept.Wait()
	l.nothingLeft(t)
}

func (l live) serviceEnds(t *testing.T) {
	cmd, diag := l.begin(t, append([]string{"web"}, forever...)...)
	_ = syscall.Kill(l.first(t, "100000"), syscall.SIGKILL)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 137 || !strings.HasPrefix(diag.String(), "service: debug: web has ended") {
		t.Errorf("exit code %d, %q", code, diag)
	}
	l.until(t, "the tools have ended", l.gone)
	l.s.Line("service web: killed by SIGKILL", "restart 1")
	l.nothingLeft(t)
}

// containerd has no part in it.
func (l live) containerdHangs(t *testing.T) {
	for _, pid := range l.s.Named("containerd") {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		defer syscall.Kill(pid, syscall.SIGCONT) //nolint:errcheck // It may have been killed.
	}
	if out, err := l.command("debug", "other", "echo", "looked").CombinedOutput(); err != nil || string(out) != "looked\n" {
		t.Errorf("%v, %s", err, out)
	}
}
