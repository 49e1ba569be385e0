package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// With a kernel that starts /sbin/usermode-helper in place of every program, as LinuxKit's
// kernels do, modules are loaded, core dumps reach their program, and keys are requested. A
// program that the image does not have is reported in the kernel log.
func TestStaticUsermodeHelper(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Long(t)
	dir := overlay(t, "helper-root", map[string]string{
		"sbin/request-key": "#!/bin/busybox sh\necho \"$0 $1 $HOME\" >/run/request-key\n",
		"usr/bin/core":     "#!/bin/busybox sh\n/bin/busybox cat >/run/core\necho \"$0 $*\" >/run/core-args\n",
	})
	to := target{arch: qemu.AMD64, kernel: "dir:" + helperKernel(t), cmdline: "console=ttyS0"}
	v := vmtest.Boot(t, machine(t, buildFor(t, to, "helper", "services:\n  AGENT\n", dir)))
	v.Stage(timeline.Ready)
	t.Run("modprobe", func(t *testing.T) {
		v.Output("/bin/busybox", "ip", "link", "add", "d0", "type", "dummy")
		if list := v.File("/proc/modules"); !strings.HasPrefix(list, "dummy ") {
			t.Errorf("modules: %q", list)
		}
	})
	t.Run("core", func(t *testing.T) {
		crash(t, v, "|/usr/bin/core %s")
		if args := eventually(t, v, "/run/core-args"); args != "/usr/bin/core 11\n" {
			t.Errorf("the program was started as %q", args)
		}
		if core := v.File("/run/core"); !strings.HasPrefix(core, "\x7fELF") {
			t.Errorf("the program got %d bytes that are not a core dump", len(core))
		}
		crash(t, v, "|/usr/bin/none")
		const report = "cannot run /usr/bin/none, which the kernel asks for: no such file or directory"
		if log, err := v.KernelLog(vmtest.Context(t)); err != nil || !strings.Contains(log, report) {
			t.Errorf("the kernel log does not have %q, %v", report, err)
		}
	})
	t.Run("request-key", func(t *testing.T) {
		if _, err := v.Exec(vmtest.Context(t), testapp, "key", "keelson"); err != nil {
			t.Fatal(err)
		}
		if args := eventually(t, v, "/run/request-key"); args != "/sbin/request-key create /\n" {
			t.Errorf("request-key was started as %q", args)
		}
	})
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// testapp is the path of testapp in PID 1's mount namespace.
const testapp = "/containers/services/agent/rootfs/testapp"

// crash makes a program die of SIGSEGV with this core_pattern. The kernel reports the death
// after the program that reads the core dump has ended.
func crash(t *testing.T, v *vmtest.VM, pattern string) {
	t.Helper()
	if err := v.WriteFile(vmtest.Context(t), "/proc/sys/kernel/core_pattern", []byte(pattern), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := v.Exec(vmtest.Context(t), "/bin/busybox", "sh", "-c", "kill -SEGV $$")
	if err != nil || r.Signal == "" {
		t.Fatalf("the shell was not killed: %+v, %v", r, err)
	}
}

// eventually waits until a file exists and is not empty, and returns its contents.
func eventually(t *testing.T, v *vmtest.VM, file string) string {
	t.Helper()
	for ctx := vmtest.Context(t); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		if text, err := v.ReadFile(ctx, file); err == nil && len(text) > 0 {
			return string(text)
		}
	}
	t.Fatalf("%s does not appear", file)
	return ""
}

// helperKernel returns the folder of a small kernel that is configured so. Building it takes
// ten minutes, once.
func helperKernel(t *testing.T) string {
	t.Helper()
	const dir = "build/kernel-helper"
	repository := vmtest.Repository(t)
	image := filepath.Join(repository, dir, "image")
	if _, err := os.Stat(filepath.Join(image, "kernel.tar")); err == nil {
		return image
	}
	build := exec.Command("make", "kernel", "KERNEL_DIR="+dir, "KERNEL_MORE=testvm/tests/testdata/usermode-helper.config")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the kernel: %v\n%s", err, out[max(0, len(out)-4000):])
	}
	return image
}
