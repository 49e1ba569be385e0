package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A machine is not taken for a container when its /proc was mounted before /init: modules
// are loaded, disks are unmounted, and the machine reboots. In the same boot a second system
// runs inside it, as in a container, and its end does not affect the first.
func TestProcMountedBeforeInit(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	program, err := os.ReadFile(filepath.Join(guestRoot(t), "init"))
	if err != nil {
		t.Fatal(err)
	}
	const shell = "#!/bin/busybox sh\n"
	dir := overlay(t, "userspace-root", map[string]string{
		"init":         shell + "[ $$ = 1 ] && /bin/busybox mount -t proc proc /proc\nexec /keelson \"$@\"\n",
		"keelson":      string(program),
		"inner/init":   string(program),
		"inner/etc/ok": "",
	})
	for _, d := range []string{"dev", "proc", "run", "sys", "tmp", "var"} {
		if err := os.MkdirAll(filepath.Join(dir, "inner", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	v := vmtest.Boot(t, machine(t, build(t, "userspace", "services:\n  AGENT\n", dir)))
	v.Stage(timeline.Ready)
	if e := find(v.Timeline(), timeline.Modules); strings.HasPrefix(e.Result, "0 ") || e.Stage == "" {
		t.Errorf("modules: %v", e)
	}
	mounts := v.File("/proc/1/mounts")
	// The inner system shares all namespaces with the machine but has its own root.
	out := v.Output("/bin/busybox", "sh", "-c", `
		b=/bin/busybox
		$b mount -o bind /inner /inner
		$b chroot /inner /init >/run/inner.log 2>&1 &
		for i in $($b seq 480); do # The agent kills a command that takes over five minutes.
			$b grep -q "boot: done" /run/inner.log && break
			$b sleep 0.5
		done
		kill -USR2 $!
		wait $!
		echo code $?
		$b cat /run/inner.log
		$b umount /inner`)
	if !strings.Contains(out, "code 0") || !strings.Contains(out, "shutdown mounts: unmounted") || strings.Contains(out, "] modules") || strings.Contains(out, "] hostname") {
		t.Errorf("the inner system:\n%s", out)
	}
	if now := v.File("/proc/1/mounts"); now != mounts {
		t.Errorf("the inner system left mounts:\n%s", now)
	}
	v.SignalInit(sigTERM)
	v.Exit(vm.Rebooted)
}

func find(events []timeline.Event, stage string) timeline.Event {
	for _, e := range events {
		if e.Stage == stage {
			return e
		}
	}
	return timeline.Event{}
}
