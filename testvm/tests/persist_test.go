package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// persistent mounts a disk on /var while containerd is running.
const persistent = `
onboot:
  - name: first
    image: dir:PAYLOAD
    command: ["/testapp", "print", "first out", "first err"]
    readonly: true
  VARDISK
services:
  AGENT
  - name: talks
    image: dir:PAYLOAD
    command: ["/testapp", "print", "service out", "service err"]
    readonly: true
    annotations: {keelson.restart: never}
`

// A disk that an onboot container mounts on /var stores logs and containerd's data; the
// files of one boot do not disturb the next. What is kept of the last boots says how each ended: in
// order, by a panic of the kernel, by a power cut.
func TestVarOnADisk(t *testing.T) {
	t.Parallel()
	c := machine(t, build(t, "persistent", persistent))
	disk := filepath.Join(t.TempDir(), "var.img")
	c.Disks = []qemu.Disk{{Path: disk, Size: 64 << 20}}
	c.ErrorStore = filepath.Join(t.TempDir(), "errors")
	c.Append += " panic=1 keelson.boots=3"
	for boot, b := range []struct {
		last string // how the boot before ended
		end  func(t *testing.T, v *vmtest.VM)
	}{
		{"boot 1, the first one on this disk", func(_ *testing.T, v *vmtest.VM) {
			v.SignalInit(sigUSR2)
			v.Exit(vm.PoweredDown)
		}},
		{"end of the last one: power-off", func(_ *testing.T, v *vmtest.VM) {
			v.Output("/usr/bin/service", "reboot")
			v.Exit(vm.Rebooted)
		}},
		{"end of the last one: reboot, ordered by user 0, process [0-9]+ .service.", panicKernel},
		{"end of the last one: kernel panic: sysrq triggered crash", func(t *testing.T, v *vmtest.VM) {
			checkLastWords(t, v)
			syncDisks(v)
			v.Cut()
		}},
		// The last words are removed from pstore: else this boot had ended by a panic, too.
		{"end of the last one: no clean end: power cut, reset, or forced reboot", func(t *testing.T, v *vmtest.VM) {
			checkBoots(t, v)
			v.SignalInit(sigUSR2)
			v.Exit(vm.PoweredDown)
		}},
	} {
		v := vmtest.Boot(t, c)
		v.Stage(timeline.Ready)
		v.Line("boots: .*" + b.last)
		v.Line("service talks: exited 0")
		checkVar(t, v, boot+1)
		b.end(t, v)
	}
	checkClean(t, disk)
}

// checkVar checks what is in /var in a boot.
func checkVar(t *testing.T, v *vmtest.VM, boot int) {
	t.Helper()
	if mounts := v.File("/proc/1/mounts"); !strings.Contains(mounts, "/dev/vda /var ext4") {
		t.Fatalf("the disk is not on /var:\n%s", mounts)
	}
	want := strings.Repeat("service out\n", boot)
	until(t, func() string { // Output is copied to the log independently of the service.
		if out := v.File("/var/log/talks.out.log"); out != want {
			return fmt.Sprintf("boot %d: the log of the service is %q, want %q", boot, out, want)
		}
		if out := v.Output("/usr/bin/service", "logs", "--boot", "0", "-o", "cat", "talks"); out != "service out\nservice err\n" && out != "service err\nservice out\n" {
			return fmt.Sprintf("boot %d: its lines of the service are %q", boot, out)
		}
		return ""
	})
	if out := v.File("/var/log/onboot/onboot.000-first.out.log"); out != "first out\n" {
		t.Errorf("boot %d: the log of the onboot container is %q", boot, out)
	}
	if db := v.File("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"); !strings.Contains(db, "talks") {
		t.Error("containerd's database is not on the disk")
	}
	if text := v.File("/var/run/keelson/timeline"); text == "" {
		t.Error("there is no /var/run on the disk")
	}
	if boot == 1 {
		return
	}
	for name, want := range map[string]string{"talks": "service ", "onboot.000-first": "first ", "kernel": "Linux version", "keelson": "ready: 2 services running"} {
		out := v.Output("/usr/bin/service", "logs", "--boot", "-1", name)
		if !strings.Contains(out, want) || name == "talks" && strings.Count(out, want) != 2 {
			t.Errorf("boot %d: the log %s of the boot before is %q", boot, name, out)
		}
	}
}

// syncDisks writes what the kernel has to the disks, and waits for that.
func syncDisks(v *vmtest.VM) { v.Output(testapp, "sync") }

// panicKernel makes the kernel panic, and waits until it resets the machine.
func panicKernel(t *testing.T, v *vmtest.VM) {
	syncDisks(v)
	_ = v.WriteFile(vmtest.Context(t), "/proc/sysrq-trigger", []byte("c"), 0o200) // It does not return.
	if exit, err := v.WaitExit(vmtest.Context(t)); exit != vm.Panicked {
		t.Fatalf("exit %q, %v", exit, err)
	}
	until(t, func() string { // The last words are stored then.
		if !strings.Contains(v.Console(), "Rebooting in 1 seconds") {
			return "the machine is not reset"
		}
		return ""
	})
	v.Close()
}

// checkLastWords checks what is known of a boot that a panic ended.
func checkLastWords(t *testing.T, v *vmtest.VM) {
	t.Helper()
	kernel := v.Output("/usr/bin/service", "logs", "--boot", "-1", "-o", "cat", "kernel")
	for _, want := range []string{"Linux version", "sysrq: Trigger a crash", "Kernel panic - not syncing: sysrq triggered crash"} {
		if strings.Count(kernel, want) != 1 {
			t.Errorf("the kernel log of the boot that ended by a panic has %q %d times:\n%s", want, strings.Count(kernel, want), kernel)
		}
	}
	if events := v.Output("/usr/bin/service", "events"); !strings.Contains(events, "stage boots: boot 4; end of the last one: kernel panic") {
		t.Errorf("no event says how the last boot ended:\n%s", events)
	}
}

// checkBoots checks the list of boots: as many as are kept, in their order.
func checkBoots(t *testing.T, v *vmtest.VM) {
	t.Helper()
	var list string
	until(t, func() string { // Old boots are removed in the background.
		list = v.Output("/usr/bin/service", "logs", "--list-boots")
		if n := strings.Count(list, "\n"); n != 4 {
			return fmt.Sprintf("%d lines:\n%s", n, list)
		}
		return ""
	})
	t.Log("\n" + list)
	for i, want := range []string{"END", "kernel panic: sysrq triggered crash", "no clean end", "-"} {
		if line := strings.Split(list, "\n")[i]; !strings.Contains(line, want) {
			t.Errorf("line %d of the list is %q, want %q", i, line, want)
		}
	}
	result, err := v.Exec(vmtest.Context(t), "/usr/bin/service", "logs", "--boot", "-3", "kernel")
	if err != nil || result.Code != 4 || !strings.Contains(result.Stderr, "boot -3: no such boot is kept") {
		t.Errorf("a boot that is not kept: %+v, %v", result, err)
	}
}
