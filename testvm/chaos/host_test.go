package chaos

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

// host is a system in namespaces on the host's kernel.
type host struct{ *nstest.System }

func bootHost(t *testing.T, initrd string) system {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "root")
	nstest.Unpack(t, initrd, tree)
	h := host{nstest.Boot(t, tree, nstest.Options{Limit: 24 * time.Hour})}
	h.Stage("ready")
	return system{h}
}

func (h host) slow() time.Duration { return 1 }

func (h host) extra() []string { return nil }

// proc returns the path of a file in the system's /proc.
func (h host) proc(pid int, file string) string {
	return filepath.Join(h.Root, "proc", strconv.Itoa(pid), file)
}

func (h host) processes() ([]process, error) {
	entries, err := os.ReadDir(filepath.Join(h.Root, "proc"))
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(h.proc(pid, "stat"))
		if err != nil {
			continue
		}
		cmdline, _ := os.ReadFile(h.proc(pid, "cmdline"))
		all[pid] = process{pid: pid, parent: parentIn(stat), args: arguments(cmdline)}
	}
	return below(all, 1), nil
}

// parentIn returns the parent in "PID (NAME) STATE PPID …" (proc_pid_stat(5)).
func parentIn(stat []byte) (parent int) {
	if f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(f) > 1 {
		parent, _ = strconv.Atoi(f[1])
	}
	return parent
}

func arguments(cmdline []byte) []string {
	if text := strings.TrimRight(string(cmdline), "\x00"); text != "" {
		return strings.Split(text, "\x00")
	}
	return nil
}

// below returns the descendants of a process. The parents of programs that the test runs
// are outside the system.
func below(all map[int]process, top int) (found []process) {
	for _, p := range all {
		for at := p; at.parent > 0; at = all[at.parent] {
			if at.parent == top {
				found = append(found, p)
				break
			}
		}
	}
	return found
}

// kill refers to the process by its folder in the system's /proc (pidfd_send_signal(2)).
func (h host) kill(pid int, s syscall.Signal) {
	if fd, err := unix.Open(h.proc(pid, ""), unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.PidfdSendSignal(fd, s, nil, 0)
		_ = unix.Close(fd)
	}
}

func (h host) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(h.PID()), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"}, args...)...)
	cmd.WaitDelay = time.Second // Its children may keep the pipes open.
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		err = cmp.Or(ctx.Err(), err)
		return out.String(), fmt.Errorf("%q: %w: %s", args, err, problem.String())
	}
	return out.String(), nil
}

func (h host) readFile(path string) ([]byte, error) { return os.ReadFile(filepath.Join(h.Root, path)) }

func (h host) writeFile(path string, text []byte) error {
	return os.WriteFile(filepath.Join(h.Root, path), text, 0o644)
}

// dial connects in the system's network namespace, on a thread that ends there.
func (h host) dial(port int) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", h.PID())); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Minute)
		}
	}()
	<-done
	return conn, err
}

func (h host) powerOff(t *testing.T) {
	h.Signal(unix.SIGUSR2)
	if code := h.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(h.Root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the root of a system that has ended still exists: %v", err)
	}
}
