package toolbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/bundle"
	"keelson/runtime/fdpass"
	"keelson/runtime/paths"
	"keelson/runtime/prepare"
	"keelson/runtime/runclog"
)

// Dir has a file for each process that runs tools. It is also where the mounts of tools are, in a
// mount namespace of their own.
const Dir = paths.State + "/debug"

// startTime is how long the runtime may take to make a container.
const startTime = time.Minute

// ErrEnded is returned when the process into whose namespaces the tools were to go has ended.
var ErrEnded = errors.New("its first process has ended")

// Tools are tools to run.
type Tools struct {
	Bundle   *bundle.Bundle // whose files they are
	PID      int            // process whose namespaces they have
	Args     []string
	Env      []string // NAME=VALUE, in addition to that of the bundle
	Terminal bool
	Width    uint16 // of the terminal in characters; 0: unknown
	Height   uint16
	Runtime  string // program of the OCI runtime; empty: paths.Runc
	Machine  bool   // the process is that of the machine, all of whose devices the tools can use
}

// Process is the first tool, which runs. Its streams are to be read and written; with a terminal
// there is only that.
type Process struct {
	Terminal              *os.File
	Stdin, Stdout, Stderr *os.File

	pid     int
	service int // pidfd of the process whose namespaces it has
	PID     int // of that process
	record  *record
}

// Start starts tools. The caller calls Wait and Close.
func (t Tools) Start() (*Process, error) {
	fd, err := unix.PidfdOpen(t.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, ErrEnded
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open process %d: %w", t.PID, err)
	}
	p := &Process{service: fd, PID: t.PID}
	if err := p.start(t); err != nil {
		if p.Ended() {
			err = ErrEnded
		}
		return nil, errors.Join(err, p.Close())
	}
	if p.Ended() { // Else the namespaces are those of the process that was asked for.
		p.Kill()
		_, _ = p.Wait()
		return nil, errors.Join(ErrEnded, p.Close())
	}
	return p, nil
}

func (p *Process) start(t Tools) error {
	layer, err := prepare.Layer(t.Bundle)
	if err != nil {
		return err
	}
	where, err := placeOf("/proc", t.PID)
	if err != nil {
		return err
	}
	if p.record, err = newRecord(Dir); err != nil {
		return err
	}
	// The process whose parent the runtime is becomes a child of this one when the runtime ends. What a
	// tool leaves later does not.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become a subreaper: %w", err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	var failed error
	err = mounts.Apart(func() { failed = p.create(t, where, layer) })
	return errors.Join(err, failed)
}

// create makes the container of tools and starts it. It runs in a mount namespace of its own.
func (p *Process) create(t Tools, where place, layer string) error {
	// Root of another user namespace has to find its root there, and finds no more.
	if err := mounts.Mount("tmpfs", Dir, "tmpfs", []string{"mode=711", "nodev"}); err != nil {
		return err
	}
	root := filepath.Join(Dir, "root")
	if err := makeRoot(layer, root, t.link(), where.pid, t.PID); err != nil {
		return fmt.Errorf("cannot make a root for tools of %s: %w", t.Bundle.Name, err)
	}
	text, err := json.Marshal(t.spec(where, root, p.record.cgroup()))
	if err != nil {
		return fmt.Errorf("cannot encode the configuration of tools: %w", err)
	}
	if err := os.WriteFile(filepath.Join(Dir, bundle.ConfigFile), text, 0o600); err != nil {
		return fmt.Errorf("cannot write the configuration of tools: %w", err)
	}
	return p.run(t)
}

// makeRoot mounts an overlay in memory over the files of a layer, and adds what is the container's.
func makeRoot(layer, root, name string, inner, pid int) error {
	upper, work := filepath.Join(Dir, "upper"), filepath.Join(Dir, "work")
	for _, dir := range []string{root, upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := mounts.Mount("overlay", root, "overlay", []string{"lowerdir=" + layer, "upperdir=" + upper, "workdir=" + work}); err != nil {
		return err
	}
	inside, err := os.OpenRoot(root) // Links of the image do not lead out of it.
	if err != nil {
		return err
	}
	defer inside.Close()
	for _, dir := range []string{"dev", "etc", "proc", "root", "sys", "tmp"} {
		if err := inside.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	link := filepath.Join("/proc", strconv.Itoa(inner), "root")
	if err := relink(inside, strings.TrimPrefix(name, "/"), link); err != nil {
		return err
	}
	container, err := os.OpenRoot(filepath.Join("/proc", strconv.Itoa(pid), "root"))
	if err != nil {
		return fmt.Errorf("cannot open the root of process %d: %w", pid, err)
	}
	defer container.Close()
	for _, file := range []string{"etc/resolv.conf", "etc/hosts"} {
		if _, err := container.Stat(file); err != nil {
			continue
		}
		if err := relink(inside, file, filepath.Join(name, file)); err != nil {
			return err
		}
	}
	return nil
}

// relink puts a symbolic link in the place of what there is.
func relink(root *os.Root, name, target string) error {
	if err := root.RemoveAll(name); err != nil {
		return err
	}
	return root.Symlink(target, name)
}

// run calls the runtime, which starts the first tool and ends.
func (p *Process) run(t Tools) (err error) {
	runtime := t.Runtime
	if runtime == "" {
		runtime = paths.Runc
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	log, pidFile := filepath.Join(Dir, "log"), filepath.Join(Dir, "pid")
	args := []string{"--root", filepath.Join(Dir, "runc"), "--log", log, "--log-format", "json",
		"run", "--detach", "--no-new-keyring", "--pid-file", pidFile, "--bundle", Dir}
	var console *console
	if t.Terminal {
		if console, err = listenForConsole(filepath.Join(Dir, "console")); err != nil {
			return err
		}
		defer console.close()
		args = append(args, "--console-socket", console.path)
	}
	cmd := exec.CommandContext(ctx, runtime, append(args, p.record.name)...)
	if !t.Terminal {
		closeTheirs, err := p.pipes(cmd)
		defer closeTheirs()
		if err != nil {
			return err
		}
	}
	if err := cmd.Run(); err != nil {
		if why := runclog.LastError(log, 0); why != "" {
			return errors.New(why)
		}
		return fmt.Errorf("cannot run %s: %w", runtime, err)
	}
	text, err := os.ReadFile(pidFile)
	if err == nil {
		p.pid, err = strconv.Atoi(string(text))
	}
	if err != nil {
		return fmt.Errorf("cannot read which process was started: %w", err)
	}
	if console != nil {
		p.Terminal, err = console.receive()
	}
	return err
}

// pipes makes the streams of a process without a terminal. The function that it returns closes the
// ends that the process has.
func (p *Process) pipes(cmd *exec.Cmd) (closeTheirs func(), err error) {
	var theirs []*os.File
	closeTheirs = func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}
	pipe := func() (r, w *os.File) {
		if err == nil {
			if r, w, err = os.Pipe(); err != nil {
				err = fmt.Errorf("cannot make a pipe: %w", err)
			}
		}
		return r, w
	}
	stdin, in := pipe()
	out, stdout := pipe()
	errs, stderr := pipe()
	for _, f := range []*os.File{stdin, stdout, stderr} {
		if f != nil {
			theirs = append(theirs, f)
		}
	}
	p.Stdin, p.Stdout, p.Stderr = in, out, errs
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	}
	return closeTheirs, err
}

// Resize gives the terminal another size, in characters.
func (p *Process) Resize(width, height uint16) error {
	raw, err := p.Terminal.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	return errors.Join(err, failed)
}

// Wait waits until the first tool has ended, kills those that it has left, and returns its exit code:
// 128 and the signal if one has ended it.
func (p *Process) Wait() (int, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(p.pid, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("cannot wait for process %d: %w", p.pid, err)
		}
		break
	}
	p.Kill()
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// Kill kills all tools.
func (p *Process) Kill() { p.record.kill() }

// Ended reports whether the process whose namespaces the tools have has ended. The end of the first
// process of a PID namespace waits for that of all others: it has no root any more then.
func (p *Process) Ended() bool {
	fds := []unix.PollFd{{Fd: int32(p.service), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 {
			return true
		}
		break
	}
	_, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.PID), "root"))
	return err != nil
}

// WaitForEnd waits until that process has ended, or the context has.
func (p *Process) WaitForEnd(ctx context.Context) bool {
	r, w, err := os.Pipe()
	if err != nil {
		return false
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer func() {
		if stop() {
			_ = w.Close()
		}
	}()
	for {
		fds := []unix.PollFd{{Fd: int32(p.service), Events: unix.POLLIN}, {Fd: int32(r.Fd())}}
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			return err == nil && fds[0].Revents != 0
		}
	}
}

// Close removes what the tools had, after Wait.
func (p *Process) Close() error {
	for _, f := range []*os.File{p.Terminal, p.Stdin, p.Stdout, p.Stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
	_ = unix.Close(p.service)
	if p.record == nil {
		return nil
	}
	return p.record.remove()
}

// console is the socket at which the runtime gives the terminal of a container.
type console struct {
	path string
	fd   int
}

func listenForConsole(path string) (*console, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen for a terminal: %w", err)
	}
	return &console{path, fd}, nil
}

// receive returns the terminal. The runtime, which has ended, has sent it.
func (c *console) receive() (*os.File, error) {
	if err := unix.SetNonblock(c.fd, true); err != nil {
		return nil, fmt.Errorf("cannot receive a terminal: %w", err)
	}
	conn, _, err := unix.Accept4(c.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot receive a terminal: %w", err)
	}
	defer unix.Close(conn)
	_, files, err := fdpass.Receive(conn, 4096, unix.MSG_DONTWAIT)
	if err != nil {
		return nil, fmt.Errorf("cannot receive a terminal: %w", err)
	}
	if len(files) != 1 {
		fdpass.Close(files)
		return nil, fmt.Errorf("the runtime has sent %d terminals", len(files))
	}
	if err := unix.SetNonblock(files[0], true); err != nil { // Reads end when it is closed.
		fdpass.Close(files)
		return nil, fmt.Errorf("cannot use a terminal: %w", err)
	}
	return os.NewFile(uintptr(files[0]), "terminal"), nil
}

func (c *console) close() { _ = unix.Close(c.fd) }
