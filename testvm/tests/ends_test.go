package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// ends is an image with a container that runs at shutdown.
const ends = `
onshutdown:
  - name: bye
    image: dir:PAYLOAD
    command: ["/testapp", "print", "onshutdown ran", ""]
    readonly: true
services:
  AGENT
` + webFields

// overlay makes a folder with executable files and a busybox for scripts.
func overlay(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	tier.Tool(t, "busybox", "busybox-static")
	dir := vmtest.Folder(t, name)
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"bin/busybox": string(program)}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// PID 1 handles signals as busybox's init does. The kernel sends SIGINT for
// ctrl-alt-delete. In every kind of shutdown onshutdown containers run, with scripts
// before and after them. A machine without a disk has services of the image again after a reboot.
func TestSignals(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	const shell = "#!/bin/busybox sh\n"
	dir := overlay(t, "ends-root", map[string]string{
		"etc/init.d/007-script":     shell + "exit 3\n",
		"etc/init.d/030-late":       shell + "exit 4\n",
		"etc/shutdown.d/005-before": shell + "exit 5\n",
		"etc/shutdown.d/020-after":  shell + "exit 6\n",
	})
	for _, c := range []struct {
		name   string
		signal int
		want   vm.Exit
		often  bool // Other tests send the other signals.
	}{
		{"SIGUSR1", sigUSR1, vm.Halted, true}, {"SIGUSR2", sigUSR2, vm.PoweredDown, false},
		{"SIGTERM", sigTERM, vm.Rebooted, false}, {"ctrl-alt-delete", 0, vm.Rebooted, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.often {
				tier.Long(t)
			}
			m := machine(t, build(t, "ends", ends, dir))
			m.Append += " quiet" // Messages of the kernel could split lines.
			v := vmtest.Boot(t, m)
			v.Stage("ready")
			v.Line("script init.d/030-late: exited 4")
			if c.signal == 0 {
				swapper{t, v}.swapWeb()
			}
			if c.signal != 0 {
				v.SignalInit(c.signal)
			} else if err := v.Press(vmtest.Context(t), "ctrl", "alt", "delete"); err != nil {
				t.Fatal(err)
			}
			v.Exit(c.want)
			if !strings.Contains(v.Console(), "onshutdown ran") {
				t.Error("the onshutdown container did not run")
			}
			checkScripts(t, v)
			if c.signal == 0 {
				v = vmtest.Boot(t, m)
				v.Stage("ready")
				swapper{t, v}.webOfImage()
			}
		})
	}
}

// checkScripts checks the order in which scripts and containers ran.
func checkScripts(t *testing.T, v *vmtest.VM) {
	t.Helper()
	var got []string
	for _, e := range v.Timeline() {
		switch {
		case e.Stage == "script", e.Stage == timeline.Volumes, e.Stage == timeline.Ready, e.Stage == timeline.Shutdown && e.Name == "000-bye":
			got = append(got, strings.TrimSpace(e.Name+" "+e.Result))
		}
	}
	want := []string{"0 mounted", "init.d/007-script exited 3", "2 services running", "init.d/030-late exited 4",
		"shutdown.d/005-before exited 5", "000-bye exited 0", "shutdown.d/020-after exited 6"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events %q, want %q", got, want)
	}
}

// A microVM without ACPI cannot power off; a reset ends it. The kernel does not find its
// virtio devices either, including the agent's port, so a script orders the power-off.
func TestPowerOffWithoutACPI(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	dir := overlay(t, "no-acpi-root", map[string]string{
		"etc/init.d/030-off": "#!/bin/busybox sh\nexec /bin/busybox kill -USR2 1\n",
	})
	c := machine(t, build(t, "no-acpi", "services:\n  AGENT\n", dir))
	c.Machine = "microvm-no-acpi"
	v := vmtest.Boot(t, c)
	v.Stage("shutdown")
	v.Exit(vm.Rebooted)
	if !strings.Contains(v.Console(), "cannot power off: the kernel has no ACPI") {
		t.Errorf("the console does not show why the machine was reset:\n%s", v.Console())
	}
}
