package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

const afterLinuxKit = `
kernel: {image: %q, cmdline: "console=ttyS0 %s"}
init: [%q, "deb:busybox-static", %q]
onboot:
  - name: once
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "0"]
    readonly: true
services:
  AGENT
`

// linuxKitInit returns a root with the files of LinuxKit's init, runc and containerd
// packages, and a script of a user's image that needs their shell.
func linuxKitInit(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	broken := "#!/bin/sh\necho 'keelson-test: a program of LinuxKit runs' >/dev/console\nexit 1\n"
	files := map[string]string{
		"init": broken, "bin/rc.init": broken, "bin/rc.shutdown": broken, "usr/bin/service": broken,
		"etc/inittab":          "::sysinit:/bin/rc.init\n",
		"etc/init.d/000-issue": broken,
		"etc/init.d/040-own":   "#!/bin/sh\necho own >/run/own-script\n",
	}
	links := map[string]string{
		"bin/sh": "/usr/bin/busybox", "sbin/init": "/usr/bin/busybox", "sbin/poweroff": "/usr/bin/busybox",
		"etc/init.d/005-volumes": "../../usr/bin/service", "etc/init.d/010-onboot": "/usr/bin/service",
		"etc/init.d/020-containerd": "/usr/bin/service", "etc/shutdown.d/010-onshutdown": "/usr/bin/service",
	}
	for name, text := range files {
		withFolder(t, filepath.Join(dir, name), func(path string) error { return os.WriteFile(path, []byte(text), 0o755) })
	}
	for name, target := range links {
		withFolder(t, filepath.Join(dir, name), func(path string) error { return os.Symlink(target, path) })
	}
	return dir
}

func withFolder(t *testing.T, path string, write func(string) error) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := write(path); err != nil {
		t.Fatal(err)
	}
}

// keelson replaces LinuxKit's packages if it is listed after them: their programs can be
// used, and none of their scripts runs.
func TestAfterLinuxKitInit(t *testing.T) {
	t.Parallel()
	root := guestRoot(t)
	yaml := fmt.Sprintf(afterLinuxKit, vmtest.KernelOf(qemu.AMD64), network, "dir:"+linuxKitInit(t), "dir:"+root)
	yaml = strings.NewReplacer("AGENT", strings.TrimSpace(strings.ReplaceAll(agentService, "PAYLOAD", payload(t, qemu.AMD64))), "PAYLOAD", payload(t, qemu.AMD64)).Replace(yaml)
	v := vmtest.Boot(t, machine(t, vmtest.Image(t, "after-linuxkit", qemu.AMD64, yaml)))
	v.Stage(timeline.Ready)
	if got := v.Output("/bin/sh", "-c", "until [ -s /run/own-script ]; do sleep 0.1; done; cat /run/own-script"); got != "own\n" {
		t.Errorf("the script of the user wrote %q", got)
	}
	v.Line("script init.d/040-own: exited 0")
	var ran []string
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot || e.Stage == "script" {
			ran = append(ran, e.Name)
		}
	}
	if want := []string{"000-once", "init.d/040-own"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	v.Output("/sbin/poweroff")
	v.Exit(vm.PoweredDown)
	if strings.Contains(v.Console(), "a program of LinuxKit runs") {
		t.Error("a program of LinuxKit's init ran")
	}
}
