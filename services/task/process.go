package task

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

// Process is the first process of a container, and through it all the others. It is
// signalled without containerd, which may hang.
type Process interface {
	Gone() <-chan struct{}                   // closed when it has ended
	Signal(s syscall.Signal) error           // to it alone; no error when it has ended
	SignalDescendants(s syscall.Signal) bool // to its descendants; false when there are none
	Drops(s syscall.Signal) bool             // whether the kernel would drop the signal
	KillAll(spare []string) error            // SIGKILL to all processes of its container, without those in these cgroups
	KillShim() error                         // SIGKILL to its shim
	Program() string                         // the program that it runs; empty: not known
	Close()                                  // Gone may be closed then
}

// process implements Process.
type process struct {
	pid    int
	fd     *os.File // pidfd
	shim   *os.File // pidfd, nil when it is not known
	cgroup cgroup
	gone   chan struct{}
	once   sync.Once
}

// OpenProcess opens the first process of a container (pidfd_open(2)) and protects its
// shim. KillAll kills in the cgroup where the container was made. The error is ESRCH when
// the process has ended.
func OpenProcess(pid int, place Placement) (Process, error) {
	fd, err := openPidfd(pid)
	if err != nil {
		return nil, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	p := &process{pid: pid, fd: fd, gone: make(chan struct{}), cgroup: cgroupAt(place)}
	if shim, ok := openShim(pid); ok {
		p.shim = shim.pidfd
		shim.protect()
	}
	go func() {
		_ = waitReadable(fd) // An error means that it was closed.
		p.once.Do(func() { close(p.gone) })
	}()
	return p, nil
}

// HasShim reports whether the parent of a process is a shim, that is, whether the process
// is the first of a container.
func HasShim(pid int) bool {
	shim, ok := openShim(pid)
	if ok {
		shim.close()
	}
	return ok
}

func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// shim is the shim of a container.
type shim struct {
	pidfd *os.File
	score *os.File // its oom_score_adj; nil when that cannot be opened
}

// openShim opens the parent of a container's first process. When that is no shim, the
// shim has died and the process was given to another parent.
func openShim(pid int) (s shim, ok bool) {
	parent := parentOf(pid)
	if parent <= 1 {
		return shim{}, false
	}
	var err error
	if s.pidfd, err = openPidfd(parent); err != nil {
		return shim{}, false
	}
	// Opened before the parent is known to be a shim, and so not another process's.
	s.score, _ = os.OpenFile(filepath.Join("/proc", strconv.Itoa(parent), "oom_score_adj"), os.O_WRONLY, 0)
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(parent), "comm"))
	if err != nil || !strings.HasPrefix(string(name), "containerd-shim") || parentOf(pid) != parent {
		s.close()
		return shim{}, false
	}
	return s, true
}

// protect gives the shim the oom_score_adj of the supervisor. A shim gives itself a
// little less protection than containerd has, though a killed containerd costs nothing and
// a killed shim costs a service.
func (s shim) protect() {
	if s.score == nil {
		return
	}
	if oomscore.Inherited() {
		_ = oomscore.Write(s.score, oomscore.Protected) // On an error it stays as the shim set it.
	}
	_ = s.score.Close()
}

func (s shim) close() {
	_ = s.pidfd.Close()
	if s.score != nil {
		_ = s.score.Close()
	}
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
		return errors.New("the shim is not known")
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

// Program returns the target of /proc/PID/exe (proc_pid_exe(5)).
func (p *process) Program() string {
	program, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "exe"))
	if err != nil {
		return ""
	}
	return program
}

func (p *process) SignalDescendants(s syscall.Signal) bool {
	signalled := false
	for _, pid := range procfs.Descendants("/proc", p.pid) {
		if !procfs.Ended("/proc", pid) {
			_ = unix.Kill(pid, s) // It may have ended.
			signalled = true
		}
	}
	return signalled
}

// KillAll kills by cgroup.kill (cgroup-v2.rst, Linux 5.14). Where that does not exist, or
// would kill processes that are to be spared, it kills every process that the cgroup
// lists until there are none. The end of the first process ends its PID namespace, if it
// has one.
func (p *process) KillAll(spare []string) error {
	first := p.Signal(syscall.SIGKILL)
	if p.cgroup.path == "" {
		return first
	}
	dir, nested := p.cgroup.dir(), p.cgroup.nested(spare)
	if len(nested) == 0 && os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return nil
	}
	for range 100 { // Each round is faster than the processes can fork.
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
