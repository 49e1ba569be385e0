package nstest

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// patience bounds every wait for a system that has no other.
const patience = 2 * time.Minute

// Main is for TestMain of packages that use Boot: it runs the tests, or is what
// runs in a system's namespaces before /init does.
func Main(m *testing.M) int {
	if tree := os.Getenv(bootMarker); tree != "" {
		fmt.Fprintln(os.Stderr, "nstest: cannot become /init:", becomeInit(tree))
		return 125
	}
	return m.Run()
}

// Tree makes dir the root of a system: all that the guest consists of. Containers
// go to dir/containers.
func Tree(t *testing.T, dir string) {
	t.Helper()
	for _, file := range []string{"init", "usr/bin/service", "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2",
		"usr/libexec/containerd-shim-runc-v2", "usr/bin/ctr", "usr/bin/runc", "etc/os-release"} {
		Guest(t, file)
	}
	root := GuestRoot(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return copyEntry(path, filepath.Join(dir, strings.TrimPrefix(path, root)), d)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyEntry copies a folder, link or file. Only programs may be hard links: what
// a test writes to other files must not change the guest's.
func copyEntry(from, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return os.MkdirAll(to, info.Mode().Perm())
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.Mode()&0o111 != 0:
		return copyFile(from, to)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// Options of Boot.
type Options struct {
	// NotFirst leaves the PID namespace as it is, so that /init is not the
	// first process. Only inside of Run, where nothing outlives the test.
	NotFirst bool
	Args     []string      // /init's arguments
	Env      []string      // added to its environment
	CmdLine  string        // in place of the kernel's command line
	Terminal *Terminal     // standard input; nothing to read when nil
	Limit    time.Duration // it is killed then: 8 minutes when 0
	Patience time.Duration // bounds every wait for it: 2 minutes when 0
}

// System is /init running in namespaces of its own.
type System struct {
	Root string // its root directory, seen from here

	t        *testing.T
	patience time.Duration
	cmd      *exec.Cmd
	exited   chan struct{}

	mu    sync.Mutex
	grown *sync.Cond // there are more lines, or it has ended
	lines []string
	ended bool
}

// Boot starts the tree's /init on the host's kernel, in new mount, network,
// UTS, IPC, cgroup and PID namespaces, in a cgroup of its own, with the tree as
// its read-only root. What is mounted below the tree is mounted there too. It
// needs Main.
func Boot(t *testing.T, tree string, o Options) *System {
	t.Helper()
	tier.Root(t)
	s := &System{t: t, patience: cmp.Or(o.Patience, patience), cmd: exec.Command("/proc/self/exe", o.Args...), exited: make(chan struct{})}
	s.grown = sync.NewCond(&s.mu)
	s.cmd.Env = append(os.Environ(), bootMarker+"="+tree, cgroupMarker+"="+makeCgroup(t), "KEELSON_CMDLINE="+o.CmdLine)
	s.cmd.Env = append(s.cmd.Env, o.Env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS |
		syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL}
	if !o.NotFirst {
		s.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if o.Terminal != nil {
		s.cmd.Stdin = o.Terminal.open(t)
	}
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
		_ = out.SetReadDeadline(time.Now().Add(time.Second)) // Others may hold the other end.
		<-read
		_ = out.Close()
		if t.Failed() {
			t.Logf("console:\n%s", s.Console())
		}
	})
	return s
}

// start starts it from a thread that lives as long as it does: the parent whose
// death Pdeathsig is about is the thread.
func (s *System) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := onLowestCPU(s.cmd.Start)
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // Its state tells.
			close(s.exited)
		}
	}()
	return <-started
}

// becomeInit makes tree the root and runs its /init. It changes the root by
// chroot(2): runc is content when the root is a mount whose parent is private.
func becomeInit(tree string) error {
	cgroup := os.Getenv(cgroupMarker)
	_, _ = os.Unsetenv(bootMarker), os.Unsetenv(cgroupMarker)
	runtime.LockOSThread() // It is this thread that enters the namespace, and becomes /init.
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
	// A container starts with /proc, which must be that of its namespaces.
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

// Console is what it has said so far.
func (s *System) Console() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n") + "\n"
}

// find waits for a line that is wanted.
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
				s.t.Fatalf("the console never said %s", what)
			}
			s.grown.Wait()
		}
		if wanted(s.lines[i]) {
			return s.lines[i]
		}
	}
}

// Line waits for a line that holds all words.
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

// PID is /init's process id, seen from here.
func (s *System) PID() int { return s.cmd.Process.Pid }

// Signal sends a signal to /init.
func (s *System) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.Try(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Try is Signal to what may have ended.
func (s *System) Try(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Ends tells whether the system ends by itself within d.
func (s *System) Ends(d time.Duration) bool {
	select {
	case <-s.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// Wait waits for the end and returns /init's exit code, -1 for a signal.
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

// Output runs a program of the system on its root and returns what it printed.
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
