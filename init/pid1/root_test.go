package pid1

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// build builds a static program from a package.
func build(t *testing.T, to, pkg string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
}

// tree creates the root of a system with the program of testdata/service as supervisor.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"dev", "proc", "run", "sys", "tmp", "usr/bin", "var", "etc"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for name, text := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	build(t, dir+"/init", "keelson/init")
	build(t, dir+"/usr/bin/service", "./testdata/service")
	return dir
}

func TestBootAndShutdown(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "go", "golang-go")
	dir := tree(t, map[string]string{"etc/hostname": "box\n", "etc/issue": "welcome\n"})
	for _, tc := range []struct {
		name string
		send syscall.Signal
		code int
	}{
		{"power off", unix.SIGUSR2, codeDone},
		{"halt", unix.SIGUSR1, codeDone},
		{"reboot", unix.SIGTERM, codeReboot},
		{"reboot", unix.SIGINT, codeReboot},
	} {
		t.Run(tc.name+" by "+unix.SignalName(tc.send), func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Line("test service: up")
			up := s.Console()
			for _, part := range []string{"] kernel", "] mounts: after", "] hostname: box", "] boot: done", "welcome",
				"exited 7", "in / /usr/sbin:/usr/bin:/sbin:/bin"} {
				if !strings.Contains(up, part) {
					t.Errorf("no %q during the boot", part)
				}
			}
			s.Signal(syscall.SIGHUP) // It has no effect.
			s.Signal(tc.send)
			code := s.Wait()
			s.Line("shutdown mounts: unmounted")
			down := s.Console()
			for _, part := range []string{"shutdown: " + tc.name, "test service: stopping", "shutdown services: exited 0",
				"shutdown containerd: did not run", "shutdown processes: ended"} {
				if !strings.Contains(down, part) {
					t.Errorf("no %q during the shutdown", part)
				}
			}
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
		})
	}
}
