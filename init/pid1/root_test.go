package pid1

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

const rootMark = "KEELSON_TEST_PID1_ROOT"

// TestMain also is what runs first in the namespaces of a test: it makes the
// folder named by the mark the root, with nothing of the host in reach, and
// becomes /init.
func TestMain(m *testing.M) {
	if dir := os.Getenv(rootMark); dir != "" {
		fmt.Fprintln(os.Stderr, "cannot become /init:", becomeInit(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func becomeInit(dir string) error {
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("tmpfs", dir+"/root", "tmpfs", 0, "") },
		func() error { return fill(dir) },
		func() error { return os.Chdir(dir + "/root") },
		func() error { return unix.PivotRoot(".", ".") },
		func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		func() error { return os.Chdir("/") },
		func() error { return syscall.Exec("/init", []string{"/init"}, nil) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// fill lays out the root. /dev is a tmpfs as in a container, so that no node
// leads to the host; its console is a pipe to the test.
func fill(dir string) error {
	root := dir + "/root"
	for _, d := range []string{"usr/bin", "dev", "etc", "proc", "sys", "run", "tmp", "var"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", root+"/dev", "tmpfs", 0, ""); err != nil {
		return err
	}
	for name, text := range map[string]string{"dev/console": "", "dev/kmsg": "", "cmdline": "panic=-1\n", "etc/hostname": "box\n", "etc/issue": "welcome\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// The host's command line names consoles of its own.
	for _, m := range [][3]string{{"proc", "/proc", "proc"}, {root + "/cmdline", "/proc/cmdline"}, {dir + "/console", "/dev/console"}} {
		var flags uintptr
		if m[2] == "" {
			flags = unix.MS_BIND
		}
		if err := unix.Mount(m[0], root+m[1], m[2], flags, ""); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{"init": "init", "service": "usr/bin/service"} {
		program, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, to), program, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// launch starts init as the first process of new namespaces and gives its
// console, line by line, until it has ended.
func launch(t *testing.T, dir string) (*exec.Cmd, <-chan string) {
	t.Helper()
	must(t, os.MkdirAll(dir+"/root", 0o755))
	must(t, unix.Mkfifo(dir+"/console", 0o600))
	pipe, err := os.OpenFile(dir+"/console", os.O_RDWR, 0)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), rootMark+"="+dir)
	cmd.Stderr = os.Stderr
	runtime.LockOSThread() // Pdeathsig is about the thread that starts it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
		unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP, Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	stuck := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill(); _ = pipe.Close() })
	lines := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		stuck.Stop()
		_ = cmd.Process.Kill()
		_ = pipe.Close()
		<-done
	})
	return cmd, lines
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until reads lines up to one that contains all words, and returns them all.
func until(t *testing.T, lines <-chan string, words ...string) string {
	t.Helper()
	var seen strings.Builder
	for line := range lines {
		seen.WriteString(line + "\n")
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return seen.String()
		}
	}
	t.Fatalf("the console ended without %q:\n%s", words, seen.String())
	return ""
}

// build makes a static program of a package.
func build(t *testing.T, to, pkg string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
}

func TestUpAndDown(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "go", "golang-go")
	programs := t.TempDir()
	build(t, programs+"/init", "keelson/init")
	build(t, programs+"/service", "./testdata/service")
	// In a PID namespace reboot(2) ends the first process by a signal.
	for _, tc := range []struct {
		name string
		send syscall.Signal
		ends syscall.Signal
	}{
		{"power off", unix.SIGUSR2, unix.SIGINT},
		{"halt", unix.SIGUSR1, unix.SIGINT},
		{"reboot", unix.SIGTERM, unix.SIGHUP},
		{"reboot", unix.SIGINT, unix.SIGHUP},
	} {
		t.Run(tc.name+" by "+unix.SignalName(tc.send), func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Link(programs+"/init", dir+"/init"))
			must(t, os.Link(programs+"/service", dir+"/service"))
			cmd, lines := launch(t, dir)
			up := until(t, lines, "test service: up")
			for _, part := range []string{"] kernel", "] mounts: after", "] hostname: box", "] boot: done", "welcome",
				"exited 7", "in / /usr/sbin:/usr/bin:/sbin:/bin"} {
				if !strings.Contains(up, part) {
					t.Errorf("no %q on the way up:\n%s", part, up)
				}
			}
			must(t, cmd.Process.Signal(syscall.SIGHUP)) // Changes nothing.
			must(t, cmd.Process.Signal(tc.send))
			down := until(t, lines, "shutdown mounts:")
			for _, part := range []string{"shutdown: " + tc.name, "test service: stopping", "shutdown services: exited 0",
				"shutdown containerd: did not run", "shutdown processes: ended"} {
				if !strings.Contains(down, part) {
					t.Errorf("no %q on the way down:\n%s", part, down)
				}
			}
			_ = cmd.Wait() // It ends by a signal.
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != tc.ends {
				t.Errorf("ended by %v, want %v", ws.Signal(), tc.ends)
			}
		})
	}
}
