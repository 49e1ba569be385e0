package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const execTimeout = 5 * time.Minute

// Conn is a connection to a client.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
}

// Serve answers calls on conn until conn or ctx ends. Calls in progress are still answered:
// one of them may have ordered the shutdown. Files and programs are those of the mount
// namespace at nsPath (/proc/1/ns/mnt in a guest).
func Serve(ctx context.Context, conn Conn, nsPath string) error {
	s := rpc.NewServer()
	if err := s.RegisterName("Agent", &methods{ns: nsPath}); err != nil {
		return fmt.Errorf("cannot serve: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	s.ServeCodec(jsonrpc.NewServerCodec(conn))
	return nil
}

type methods struct {
	ns string
}

// inside runs f in the namespace on a thread that is never unlocked, so that it ends with
// its goroutine: it must not run other goroutines.
func (m *methods) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := m.enter(); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// enter moves the calling thread to the namespace. setns(2) refuses a thread that shares its
// root and working directory, therefore it calls unshare(2) first.
func (m *methods) enter() error {
	ns, err := os.Open(m.ns)
	if err != nil {
		return fmt.Errorf("cannot open the mount namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("cannot unshare the root directory: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot enter %s: %w", m.ns, err)
	}
	return nil
}

func (m *methods) Ping(_ string, pong *string) error {
	*pong = "pong"
	return nil
}

func (m *methods) Exec(a ExecArgs, r *ExecResult) error {
	if len(a.Args) == 0 {
		return errors.New("no program given")
	}
	if a.Timeout == 0 {
		a.Timeout = execTimeout
	}
	return m.inside(func() error { return execute(a, r) })
}

func execute(a ExecArgs, r *ExecResult) error {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, a.Args[0], a.Args[1:]...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, a.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(a.Stdin), &stdout, &stderr
	err := cmd.Run()
	r.Stdout, r.Stderr = stdout.String(), stderr.String()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, _ := exit.Sys().(syscall.WaitStatus)
		r.Code = status.ExitStatus()
		if status.Signaled() {
			r.Signal = unix.SignalName(status.Signal())
		}
		err = ctx.Err()
	}
	return err
}

func (m *methods) ReadFile(path string, data *[]byte) error {
	return m.inside(func() (err error) {
		*data, err = os.ReadFile(path)
		return err
	})
}

func (m *methods) WriteFile(a FileArgs, _ *bool) error {
	return m.inside(func() error {
		if err := os.MkdirAll(filepath.Dir(a.Path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(a.Path, a.Data, a.Mode)
	})
}

func (m *methods) ReadDir(path string, names *[]string) error {
	return m.inside(func() error {
		entries, err := os.ReadDir(path)
		for _, e := range entries {
			*names = append(*names, e.Name())
		}
		return err
	})
}

func (m *methods) KernelLog(_ string, log *string) error {
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return fmt.Errorf("cannot ask for the size of the kernel log: %w", err)
	}
	buf := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	if err != nil {
		return fmt.Errorf("cannot read the kernel log: %w", err)
	}
	*log = string(buf[:n])
	return nil
}

func (m *methods) Processes(_ string, list *[]Process) (err error) {
	*list, err = processes("/proc")
	return err
}

func (m *methods) Signal(a SignalArgs, _ *bool) error {
	return unix.Kill(a.PID, unix.Signal(a.Signal))
}
