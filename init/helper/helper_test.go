package helper_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/testvm/tier"
)

// kernelEnv is the environment of what the kernel starts (kernel/module/kmod.c).
var kernelEnv = []string{"HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"}

// answers reports how it was started.
const answers = "#!/bin/busybox sh\necho \"$0 $* TERM=$TERM\"\n/bin/busybox cat\nexit 7\n"

// root is a tree with /init, the link to it that the kernel starts, and programs.
func root(t *testing.T, programs ...string) string {
	t.Helper()
	tier.Root(t)
	tier.Tool(t, "busybox", "busybox-static")
	dir := t.TempDir()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "bin/busybox", data)
	for _, p := range programs {
		write(t, dir, p, []byte(answers))
	}
	build := exec.Command("go", "build", "-ldflags", "-E main.entry", "-o", filepath.Join(dir, "init"), "keelson/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build init: %v\n%s", err, out)
	}
	err = errors.Join(os.MkdirAll(filepath.Join(dir, "sbin"), 0o755), os.MkdirAll(filepath.Join(dir, "dev"), 0o755),
		os.Symlink("../init", filepath.Join(dir, "sbin/usermode-helper")))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// start is what the kernel does: it executes the helper with the arguments meant
// for another program.
func start(t *testing.T, dir string, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/sbin/usermode-helper")
	c.Path, c.Args, c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr = "/sbin/usermode-helper", args, kernelEnv, "/", strings.NewReader("core"), &stdout, &stderr
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Cloneflags: syscall.CLONE_NEWNS}
	err := c.Run()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// The program that the kernel means gets its arguments, environment and standard
// input, and the kernel its exit code.
func TestPrograms(t *testing.T) {
	dir := root(t, "sbin/request-key", "usr/bin/core", "sbin/modprobe")
	for want, args := range map[string][]string{
		"/sbin/request-key create 1 0 0 2 3 4 TERM=linux": {"/sbin/request-key", "create", "1", "0", "0", "2", "3", "4"},
		"/usr/bin/core %e 11 TERM=linux":                  {"/usr/bin/core", "%e", "11"},
		"/sbin/modprobe -q -- net-pf-9 TERM=linux":        {"/sbin/modprobe", "-q", "--", "net-pf-9"},
	} {
		if out, errs, code := start(t, dir, args...); out != want+"\ncore" || code != 7 {
			t.Errorf("%q: %q, %q, exit code %d", args, out, errs, code)
		}
	}
}

// Without a modprobe in the image, the helper looks for the module itself, which needs
// /proc. Any other program that is missing is named, and the kernel gets a failure. The
// helper does not execute itself forever, and arguments that name roles of init start none.
func TestMissing(t *testing.T) {
	dir := root(t)
	if err := os.Symlink("../init", filepath.Join(dir, "sbin/linked")); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"cannot read the kernel command line": {"/sbin/modprobe", "-q", "--", "net-pf-9"},
		"read the kernel command line":        {"/init", "-q", "--", "net-pf-9"}, // as /proc/sys/kernel/modprobe has it
		"/sbin/request-key":                   {"/sbin/request-key", "create"},
		"\"boot\"":                            {"/init", "boot"},
		"\"shutdown\"":                        {"/sbin/usermode-helper", "shutdown"},
		"/sbin/linked":                        {"/sbin/linked"},
		"do not begin":                        {"init", "boot"},
	} {
		if out, errs, code := start(t, dir, args...); code != 1 || !strings.Contains(errs, want) || out != "" {
			t.Errorf("%q: %q, %q, exit code %d", args, out, errs, code)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "run/keelson/missing/-sbin-request-key")); err != nil {
		t.Errorf("what is missing leaves no trace: %v", err)
	}
}
