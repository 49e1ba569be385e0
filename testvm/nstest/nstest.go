// Package nstest runs a test of the root tier in new namespaces, so that it can mount,
// run containers and start containerd without changing the host. It is for tests only.
//
// Run starts the test binary again as the first process of new PID, mount, network, UTS,
// IPC and cgroup namespaces, with a new cgroup2 mount and empty /run, /var/log and
// /var/lib. When it ends, the kernel kills everything it started.
//
// Boot runs a whole system in namespaces, from /init on.
//
// Sources: namespaces(7), pid_namespaces(7), cgroups(7).
package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/mounts"
	"keelson/testvm/tier"
)

// marker is the environment variable with the test that runs in the namespaces.
const marker = "KEELSON_NSTEST"

// goroutinesLimit is the time before the deadline at which a test in namespaces times
// out and prints its goroutines.
const goroutinesLimit = 20 * time.Second

// Run calls f in new namespaces. It must be the first call of a top-level test, apart from t.Parallel and tier.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	tier.Root(t)
	if os.Getenv(marker) == t.Name() {
		setUp(t)
		go reapOrphans()
		f(t)
		return
	}
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v", "-test.count=1"}
	if end, ok := t.Deadline(); ok { // Earlier than this process's, so that it prints where it hangs.
		args = append(args, "-test.timeout="+max(time.Until(end)-goroutinesLimit, time.Second).String())
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWCGROUP,
		Pdeathsig: syscall.SIGKILL,
	}
	var out []byte
	err := onLowestCPU(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	text := strings.TrimSpace(string(out))
	switch {
	case err != nil:
		t.Fatalf("inside new namespaces: %v\n%s", err, text)
	case strings.Contains(text, "--- SKIP"):
		tier.Skip(t, "inside new namespaces: %s", text)
	case testing.Verbose():
		t.Log(text)
	}
}

func setUp(t *testing.T) {
	t.Helper()
	for _, m := range []struct{ source, target, fstype, options string }{
		{"", "/", "", "rprivate"},
		{"proc", "/proc", "proc", "nosuid,nodev,noexec"},
		{"sysfs", "/sys", "sysfs", "nosuid,nodev,noexec"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", ""},
		{"tmpfs", "/run", "tmpfs", "mode=755"},
		{"tmpfs", "/var/log", "tmpfs", "mode=755"},
		{"tmpfs", "/var/lib", "tmpfs", "mode=755"},
		{"", "/", "", "rshared"}, // as in the guest
	} {
		if err := mounts.Mount(m.source, m.target, m.fstype, []string{m.options}); err != nil {
			t.Fatal(err)
		}
	}
	if err := onAllCPUs(); err != nil { // here, where /proc is the namespace's own
		t.Fatal(err)
	}
}

// GuestRoot returns the tree of guest binaries: KEELSON_GUEST_ROOT, or the one that
// `make guest` has built.
func GuestRoot(t *testing.T) string {
	t.Helper()
	if root := os.Getenv("KEELSON_GUEST_ROOT"); root != "" {
		return root
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "build", goarch, "root")
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// Guest returns the path of a guest binary. The test is skipped if it does not exist.
func Guest(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(GuestRoot(t), name)
	if _, err := os.Stat(path); err != nil {
		tier.Skip(t, "needs %s: run `make guest`", path)
	}
	return path
}

// Runc returns the path of an OCI runtime: KEELSON_RUNC or the guest's.
func Runc(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("KEELSON_RUNC"); path != "" {
		return path
	}
	return Guest(t, "usr/bin/runc")
}

// Bundle writes a bundle below dir whose container is busybox running a
// shell script. annotations go into config.json; runtimeJSON is the text of
// runtime.json, or empty for none.
func Bundle(t *testing.T, dir, script string, annotations map[string]string, runtimeJSON string) {
	t.Helper()
	tier.Tool(t, "busybox", "busybox-static")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	rootfs := filepath.Join(dir, "rootfs")
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "run"} {
		if err := os.MkdirAll(filepath.Join(rootfs, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyFile(busybox, filepath.Join(rootfs, "bin/busybox")); err != nil {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "sleep", "cat", "echo", "kill", "ip", "touch"} {
		_ = os.Symlink("busybox", filepath.Join(rootfs, "bin", applet))
	}
	write(t, filepath.Join(dir, "config.json"), config(t, filepath.Base(dir), script, annotations))
	t.Cleanup(removeCgroups)
	if runtimeJSON != "" {
		write(t, filepath.Join(dir, "runtime.json"), []byte(runtimeJSON))
	}
}

func copyFile(from, to string) error {
	if err := os.Link(from, to); err == nil || os.IsExist(err) {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(fmt.Errorf("cannot write bundle: %w", err))
	}
}
