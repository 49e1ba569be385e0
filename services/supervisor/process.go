package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/oomscore"
	"keelson/runtime/procfs"
)

// Process is the first process of a container, and through it all the others.
// It is signalled without containerd, which may hang.
type Process interface {
	Gone() <-chan struct{}             // closed when it has ended
	Signal(s syscall.Signal) error     // to it alone; one that has ended is no error
	KillAll(spare []string) error      // SIGKILL to all processes of its container, without those in these cgroups
	KillShim() error                   // SIGKILL to the shim it was started by
	Drops(s syscall.Signal) bool       // it would never get the signal
	SignalBelow(s syscall.Signal) bool // to its descendants; false when there are none
	Program() string                   // that it runs now; empty: not known
	Close()                            // Gone may be closed then
}

// process is a real one.
type process struct {
	pid    int
	fd     *os.File // pidfd
	shim   *os.File // pidfd, nil when it is unknown
	cgroup cgroup
	gone   chan struct{}
	once   sync.Once
}

// openProcess takes hold of a process (pidfd_open(2)). ESRCH: it has ended.
func openProcess(pid int) (Process, error) {
	fd, err := openPidfd(pid)
	if err != nil {
		return nil, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	p := &process{pid: pid, fd: fd, gone: make(chan struct{}), cgroup: cgroupOf(pid)}
	p.shim = shimOf(pid)
	go func() {
		_ = waitReadable(fd) // An error means that it was closed.
		p.once.Do(func() { close(p.gone) })
	}()
	return p, nil
}

func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// shimOf takes hold of the parent of a container's first process. When that
// is no shim, it has died and the process was given to another. A shim gives
// itself a little less protection than containerd has, though the end of
// containerd costs nothing and its own a service: it gets what we have.
func shimOf(pid int) *os.File {
	parent := parentOf(pid)
	if parent <= 1 {
		return nil
	}
	f, err := openPidfd(parent)
	if err != nil {
		return nil
	}
	// Opened before it is known to be the shim's, so that it cannot be another's.
	score, _ := os.OpenFile(filepath.Join("/proc", strconv.Itoa(parent), "oom_score_adj"), os.O_WRONLY, 0)
	defer score.Close()
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(parent), "comm"))
	if err != nil || !strings.HasPrefix(string(name), "containerd-shim") || parentOf(pid) != parent {
		_ = f.Close()
		return nil
	}
	if score != nil && oomscore.Inherited() {
		_ = oomscore.Write(score, oomscore.Protected) // Else it is as the shim wanted it.
	}
	return f
}

// parentOf returns the parent of a process; 0 when it has ended.
func parentOf(pid int) int {
	stat, err := procfs.ReadStat("/proc", pid)
	if err != nil {
		return 0
	}
	return stat.Parent
}

func (p *process) Gone() <-chan struct{} { return p.gone }

func (p *process) Close() {
	_ = p.fd.Close()
	if p.shim != nil {
		_ = p.shim.Close()
	}
}

func (p *process) Signal(s syscall.Signal) error { return signalPidfd(p.fd, s) }

func (p *process) KillShim() error {
	if p.shim == nil {
		return errors.New("its shim is not known")
	}
	return signalPidfd(p.shim, syscall.SIGKILL)
}

func signalPidfd(f *os.File, s syscall.Signal) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

func (p *process) Drops(s syscall.Signal) bool { return procfs.DropsSignal("/proc", p.pid, s) }

// Program is what /proc/PID/exe leads to (proc_pid_exe(5)).
func (p *process) Program() string {
	program, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "exe"))
	if err != nil {
		return ""
	}
	return program
}

func (p *process) SignalBelow(s syscall.Signal) bool {
	signalled := false
	for _, pid := range procfs.Descendants("/proc", p.pid) {
		if !procfs.Ended("/proc", pid) {
			_ = unix.Kill(pid, s) // It may have ended.
			signalled = true
		}
	}
	return signalled
}

// KillAll kills by cgroup.kill (cgroup-v2.rst, Linux 5.14). Where there is
// none, or where it would kill what is to be spared, it kills every process
// that the cgroup lists, until that lists none: the first takes its PID
// namespace with it, if it has one.
func (p *process) KillAll(spare []string) error {
	first := p.Signal(syscall.SIGKILL)
	if p.cgroup.path == "" {
		return first
	}
	dir, nested := p.cgroup.dir(), p.cgroup.nested(spare)
	if len(nested) == 0 && os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return nil
	}
	for range 100 { // Each round is faster than they can fork.
		pids := processesIn(dir, nested)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	return first
}

// waitReadable returns when a pidfd's process has ended.
func waitReadable(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0
	})
}
