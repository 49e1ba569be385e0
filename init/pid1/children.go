package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/boot"
	"keelson/init/reaper"
	"keelson/runtime/userspace"
)

const (
	initPath       = "/init"
	containerdPath = "/usr/bin/containerd"
	supervisorPath = "/usr/bin/service"
	containerdLog  = "/var/log/containerd.log"
	stateDir       = "/run/keelson"
)

// Names of children.
const (
	roleBoot       = "boot"
	roleLate       = "late"
	roleDown       = "shutdown"
	roleRoot       = "root"
	roleFiles      = boot.FilesRole
	nameContainerd = "containerd"
	nameSupervisor = "supervisor"
)

// environment is what every child gets, besides what environ adds.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TMPDIR=/tmp"}

// spawn starts a program, whose messages go to the file that output opens, with
// nothing to read. Who has taken all our file descriptors need not keep them.
func (p *pid1) spawn(name string, output func() (*os.File, error), args ...string) (*reaper.Child, error) {
	child, err := p.spawnOnce(name, output, args)
	if errors.Is(err, unix.EMFILE) && raiseLimits() == nil {
		child, err = p.spawnOnce(name, output, args)
	}
	return child, err
}

func (p *pid1) spawnOnce(name string, output func() (*os.File, error), args []string) (*reaper.Child, error) {
	out, err := output()
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", args[0], err)
	}
	defer out.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", args[0], err)
	}
	defer null.Close()
	return p.reaper.Start(reaper.Command{
		Name: name, Path: args[0], Args: args, Env: environ(), Files: []*os.File{null, out, out},
		// A session of its own: no terminal, and a group that can be signalled.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// consoleFile is for what a child says besides its messages, such as the trace
// of a panic. Without a console it is /dev/null; inside of another system it is
// what we were given.
func consoleFile() (*os.File, error) {
	if userspace.Inside() {
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return os.OpenFile("/dev/null", os.O_WRONLY, 0)
		}
		return os.NewFile(uintptr(fd), "stdout"), nil
	}
	// Opening a serial line may wait for its carrier unless told not to.
	fd, err := unix.Open("/dev/console", unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.OpenFile("/dev/null", os.O_WRONLY, 0)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/console"), nil
}

// runRole runs a role of init to its end. When ctx ends the role is told to
// end, and killed when it does not within grace. One that an earlier incarnation
// has started is not started again.
func (p *pid1) runRole(ctx context.Context, role string, grace time.Duration, args ...string) (string, error) {
	child := p.reaper.Named(role)
	if child == nil {
		if p.reaper.Begun(role) {
			return "ended, status unknown", nil
		}
		var err error
		if child, err = p.spawn(role, consoleFile, append([]string{initPath, role}, args...)...); err != nil {
			return "", err
		}
	}
	if _, err := child.Wait(ctx); err != nil {
		p.endGroup(child, grace)
		return "", fmt.Errorf("%s was ended: %w", role, err)
	}
	if status := child.Status(); !status.Success() {
		return "", fmt.Errorf("%s %s", role, status)
	}
	return "done", nil
}

// endGroup ends a child and what it left in its process group.
func (p *pid1) endGroup(child *reaper.Child, grace time.Duration) {
	if err := child.Signal(unix.SIGTERM); err != nil {
		p.log.Error("a role was not told to end", "error", err)
	}
	if !within(child.Done(), grace) {
		_ = unix.Kill(-child.Pid, unix.SIGKILL) // Not yet collected, so the group is its own.
		within(child.Done(), killGrace)
	}
}

// newKeeper keeps one of the daemons. Its panics are PID 1's.
func (p *pid1) newKeeper(name string) *keeper {
	start := map[string]func() (process, error){nameContainerd: p.startContainerd, nameSupervisor: p.startSupervisor}[name]
	k := newKeeper(name, p.log, start)
	k.panic = func(in string, value any, stack []byte) { p.panicked("keeper of "+in, value, stack) }
	return k
}

// startContainerd starts it. Where an image has settings for it, something else
// reads them and then becomes containerd.
func (p *pid1) startContainerd() (process, error) {
	d := &daemon{log: containerdLog}
	output, args := d.output, []string{containerdPath}
	if _, err := os.Stat(containerdSettings); err == nil {
		output, args = consoleFile, []string{supervisorPath, "containerd"}
		d.note()
	}
	var err error
	if d.Child, err = p.spawn(nameContainerd, output, args...); err != nil {
		return nil, err // Not d, which would be a process that is not nil.
	}
	return d, nil
}

// daemon is a child that writes to a log of its own.
type daemon struct {
	*reaper.Child
	log  string
	from int64 // where the log ended before
}

// output opens the log, or the console where there is no room for one.
func (d *daemon) output() (*os.File, error) {
	// O_NONBLOCK: a fifo in its place must not hold us up.
	out, err := os.OpenFile(d.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return consoleFile()
	}
	d.note()
	return out, nil
}

// note remembers where the log ends now.
func (d *daemon) note() {
	var st unix.Stat_t
	if unix.Stat(d.log, &st) == nil {
		d.from = st.Size
	}
}

// wordsLimit is how much of a log's end is looked at.
const wordsLimit = 1000

// lastWords is the last line it wrote, or nothing.
func (d *daemon) lastWords() string {
	fd, err := unix.Open(d.log, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size <= d.from {
		return ""
	}
	text := make([]byte, wordsLimit)
	n, err := unix.Pread(fd, text, max(st.Size-wordsLimit, d.from))
	if err != nil || n <= 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text[:n])), "\n")
	return ": " + lines[len(lines)-1]
}

func (p *pid1) startSupervisor() (process, error) {
	child, err := p.spawn(nameSupervisor, consoleFile, supervisorPath, "supervise")
	if err != nil {
		return nil, err // Not child, which would be a process that is not nil.
	}
	return child, nil
}
