package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// role is set in the environment of a test binary that is the first process of a container.
const role = "KEELSON_PROBE_CONTAINER"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		if err := command(verb, arg); err != nil {
			fmt.Println(verb, err)
			continue
		}
		fmt.Println("done")
	}
}

// command runs a command of the test in the container.
func command(verb, arg string) error {
	switch verb {
	case "chroot":
		return unix.Chroot(arg)
	case "tmpfs":
		return errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""), os.MkdirAll(arg, 0o755), unix.Mount("tmpfs", arg, "tmpfs", 0, "mode=755"))
	case "mkdir":
		return os.MkdirAll(arg, 0o755)
	case "bind": // does not listen
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrUnix{Name: arg})
	case "listen":
		network, addr, _ := strings.Cut(arg, " ")
		_, err := net.Listen(network, addr)
		return err
	case "datagrams":
		_, err := net.ListenPacket("unixgram", arg)
		return err
	case "serve":
		status, addr, _ := strings.Cut(arg, " ")
		l, err := net.Listen("tcp", addr)
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-r.Context().Done()
				}
				var code int
				_, _ = fmt.Sscan(status, &code)
				w.WriteHeader(code)
			}))
		}()
		return err
	case "notify":
		return notify(strings.ReplaceAll(arg, "|", "\n"))
	case "barrier":
		return barrier()
	}
	return fmt.Errorf("unknown command")
}

// notifyAt is the NOTIFY_SOCKET of a box.
const notifyAt = "/run/keelson/notify"

func notify(text string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte(text), 0, &unix.SockaddrUnix{Name: notifyAt})
}

// barrier waits for its pipe to be closed, as sd_notify_barrier(3) does.
func barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrUnix{Name: notifyAt}
	if err := unix.Sendmsg(fd, []byte("BARRIER=1"), unix.UnixRights(int(w.Fd())), to, 0); err != nil {
		return err
	}
	_ = w.Close()
	_, err = io.ReadAll(r)
	return err
}

// box is a container: a process in its own namespaces and cgroup.
type box struct {
	t    *testing.T
	pid  int
	in   io.Writer
	out  *bufio.Scanner
	root string
}

// newBox needs nstest.Run.
func newBox(t *testing.T, name string) *box {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	group := filepath.Join("/sys/fs/cgroup", name)
	must(t, os.MkdirAll(group, 0o755))
	must(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0))
	must(t, inNetNS(cmd.Process.Pid, func() { must(t, loopbackUp()) }))
	return &box{t: t, pid: cmd.Process.Pid, in: in, out: bufio.NewScanner(out), root: t.TempDir()}
}

func (b *box) do(format string, args ...any) {
	b.t.Helper()
	fmt.Fprintf(b.in, format+"\n", args...)
	if b.out.Scan(); b.out.Text() != "done" {
		b.t.Errorf("container: %s (%v)", b.out.Text(), b.out.Err())
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sleeper starts a process in its own network namespace.
func sleeper(b *testing.B) int {
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	must(b, cmd.Start())
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	must(b, inNetNS(cmd.Process.Pid, func() { must(b, loopbackUp()) }))
	return cmd.Process.Pid
}
