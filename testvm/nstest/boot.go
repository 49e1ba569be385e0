package nstest

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/timeline"
	"keelson/testvm/tier"
)

// bootMarker is the environment variable with the tree to boot.
const bootMarker = "KEELSON_NSTEST_BOOT"

// patience is the default limit of every wait for a system.
const patience = 2 * time.Minute

// Main is for TestMain of packages that use Boot: it runs the tests or, in the namespaces
// of a system, executes /init.
func Main(m interface{ Run() int }) int {
	if tree := os.Getenv(bootMarker); tree != "" {
		fmt.Fprintln(os.Stderr, "nstest: cannot become /init:", becomeInit(tree))
		return 125
	}
	return m.Run()
}

// Options of Boot.
type Options struct {
	// NotFirst makes no PID namespace, so that /init is not the first process. It needs
	// Run, so that no process outlives the test.
	NotFirst bool
	Args     []string      // /init's arguments
	Env      []string      // added to its environment
	CmdLine  string        // instead of the kernel's command line
	Terminal *Terminal     // standard input; /dev/null if nil
	Limit    time.Duration // after which it is killed: 8 minutes if 0
	Patience time.Duration // bounds every wait for it: 2 minutes if 0
}

// System is an /init that runs in its own namespaces.
type System struct {
	Root string // path of its root directory in this process's namespaces

	t        *testing.T
	patience time.Duration
	cmd      *exec.Cmd
	exited   chan struct{}

	mu    sync.Mutex
	grown *sync.Cond // signalled on new lines and at the end
	lines []string
	ended bool
}

// Boot starts the tree's /init on the host's kernel, in new mount, network, UTS, IPC,
// cgroup and PID namespaces and a new cgroup, with the tree as its read-only root. Mounts
// below the tree are visible there. It needs Main.
func Boot(t *testing.T, tree string, o Options) *System {
	t.Helper()
	tier.Root(t)
	s := &System{t: t, patience: cmp.Or(o.Patience, patience), cmd: bootCommand(t, tree, o), exited: make(chan struct{})}
	s.grown = sync.NewCond(&s.mu)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = in, in
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	s.Root = fmt.Sprintf("/proc/%d/root", s.cmd.Process.Pid)
	read := make(chan struct{})
	go func() { defer close(read); s.read(out) }()
	stuck := time.AfterFunc(cmp.Or(o.Limit, 4*patience), func() { _ = s.cmd.Process.Kill() })
	t.Cleanup(func() {
		stuck.Stop()
		_ = s.cmd.Process.Kill()
		_ = out.SetReadDeadline(time.Now().Add(time.Second)) // Other processes may have the pipe open.
		<-read
		_ = out.Close()
		if t.Failed() {
			t.Logf("console:\n%s", s.Console())
		}
	})
	return s
}

// bootCommand returns this program, which Main makes the /init of the tree.
func bootCommand(t *testing.T, tree string, o Options) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", o.Args...)
	cmd.Env = append(os.Environ(), bootMarker+"="+tree, cgroupMarker+"="+makeCgroup(t), "KEELSON_CMDLINE="+o.CmdLine)
	cmd.Env = append(cmd.Env, o.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS |
		syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL}
	if !o.NotFirst {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if o.Terminal != nil {
		cmd.Stdin = o.Terminal.open(t)
	}
	return cmd
}

// start starts the system from a thread that exists until the system ends, because
// Pdeathsig refers to the parent thread.
func (s *System) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := onLowestCPU(s.cmd.Start)
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // The result is in ProcessState.
			close(s.exited)
		}
	}()
	return <-started
}

// becomeInit makes tree the root and executes its /init. It uses chroot(2): runc accepts
// a root that is a mount with a private parent.
func becomeInit(tree string) error {
	cgroup := os.Getenv(cgroupMarker)
	_, _ = os.Unsetenv(bootMarker), os.Unsetenv(cgroupMarker)
	runtime.LockOSThread() // This thread enters the namespace and becomes /init.
	err := errors.Join(
		enterCgroup(cgroup),
		mounts.Mount("", "/", "", []string{"rprivate"}),
		mounts.Mount(tree, tree, "", []string{"rbind", "ro"}),
	)
	if err == nil {
		if err = unix.Chroot(tree); err == nil {
			err = os.Chdir("/")
		}
	}
	// A container manager mounts /proc of the container's namespaces.
	if err == nil {
		err = mounts.Mount("proc", "/proc", "proc", nil)
	}
	if err == nil {
		err = onAllCPUs()
	}
	if err != nil {
		return err
	}
	return syscall.Exec("/init", append([]string{"/init"}, os.Args[1:]...), os.Environ())
}

func (s *System) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		s.mu.Lock()
		s.lines = append(s.lines, lines.Text())
		s.mu.Unlock()
		s.grown.Broadcast()
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.grown.Broadcast()
}

// Console returns the output so far.
func (s *System) Console() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n") + "\n"
}

// find waits for a line for which wanted returns true.
func (s *System) find(what string, wanted func(string) bool) string {
	s.t.Helper()
	late := false
	timer := time.AfterFunc(s.patience, func() { s.mu.Lock(); late = true; s.mu.Unlock(); s.grown.Broadcast() })
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; ; i++ {
		for i >= len(s.lines) {
			if s.ended || late {
				s.mu.Unlock()
				defer s.mu.Lock()
				s.t.Fatalf("the console never showed %s", what)
			}
			s.grown.Wait()
		}
		if wanted(s.lines[i]) {
			return s.lines[i]
		}
	}
}

// Line waits for a line that contains all words.
func (s *System) Line(words ...string) string {
	s.t.Helper()
	return s.find(fmt.Sprintf("%q", words), func(line string) bool {
		for _, w := range words {
			if !strings.Contains(line, w) {
				return false
			}
		}
		return true
	})
}

// Stage waits for an event of one of the stages.
func (s *System) Stage(stages ...string) (found timeline.Event) {
	s.t.Helper()
	s.find(fmt.Sprintf("one of %q", stages), func(line string) bool {
		e, ok := timeline.ParseLine(line)
		found = e
		return ok && strings.Contains(" "+strings.Join(stages, " ")+" ", " "+e.Stage+" ")
	})
	return found
}

// PID returns /init's process ID in this process's namespace.
func (s *System) PID() int { return s.cmd.Process.Pid }

// Signal sends a signal to /init.
func (s *System) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.Try(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Try is like Signal for a system that may have ended.
func (s *System) Try(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Ends reports whether the system ends by itself within d.
func (s *System) Ends(d time.Duration) bool {
	select {
	case <-s.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// Wait waits for the end and returns /init's exit code, or -1 if a signal killed it.
func (s *System) Wait() int {
	s.t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(s.patience):
		s.t.Fatal("the system does not end")
		return -1
	}
}

// File reads a file of the system.
func (s *System) File(path string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Root, path))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// Output runs a program of the system in its root and returns its output.
func (s *System) Output(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.Root}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}
