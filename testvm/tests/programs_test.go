package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/signing"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

const programsImage = `
onboot:
  VARDISK
services:
  AGENT
files:
  - path: etc/keelson/swap.yml
    contents: |
      keys: {test: KEY}
      programs: {allow: [swap, rollback], signed-by: [test]}
`

// A machine replaces containerd, shim, runc and the supervisor on its initramfs, keeps them on
// its disk over a reboot, and unmounts the disk all the same. The agent, through which the
// test works, is a service that runs meanwhile.
func TestSwapPrograms(t *testing.T) {
	t.Parallel()
	tier.Long(t) // testvm/programs and the chaos tests swap programs without a disk of their own.
	tier.Tool(t, "minisign", "minisign")
	dir := t.TempDir()
	public, secret, tar := filepath.Join(dir, "key.pub"), filepath.Join(dir, "key"), filepath.Join(dir, "programs.tar.zst")
	if out, err := exec.Command("minisign", "-G", "-W", "-p", public, "-s", secret).CombinedOutput(); err != nil {
		t.Fatalf("minisign: %v: %s", err, out)
	}
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.WritePrograms([]string{filepath.Join(vmtest.Repository(t), "build/amd64/root")}, time.Time{}, image.Target{Name: tar}); err != nil {
		t.Fatal(err)
	}
	key, err := signing.LoadKey(secret, func() (string, error) { return "", nil })
	if err == nil {
		_, err = signing.Sign(tar, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(tar)
	if err != nil {
		t.Fatal(err)
	}
	c := machine(t, build(t, "programs", strings.Replace(programsImage, "KEY", strings.Split(string(text), "\n")[1], 1)))
	c.Disks = []qemu.Disk{{Path: filepath.Join(dir, "var.img"), Size: 512 << 20}}
	s := swapper{t, vmtest.Boot(t, c)}
	s.Stage(timeline.Ready)
	s.put("/var/programs.tar.zst", data)
	if out := s.service("", "swap", "-programs", "-probation", "1s", "/var/programs.tar.zst"); !strings.Contains(out, "committed") || strings.Contains(out, "in memory") {
		t.Errorf("the swap showed %q", out)
	}
	s.inUse()
	s.SignalInit(sigTERM)
	s.Exit(vm.Rebooted)
	s.unmounted()
	s.VM = vmtest.Boot(t, c)
	s.Stage(timeline.Ready)
	s.inUse()
	s.SignalInit(sigUSR2)
	s.Exit(vm.PoweredDown)
	s.unmounted()
}

// inUse checks that the new programs are in use.
func (s swapper) inUse() {
	s.Helper()
	if mounts := s.File("/proc/1/mounts"); !strings.Contains(mounts, "keelson-programs /usr/bin overlay ro") || !strings.Contains(mounts, "keelson-programs /usr/libexec overlay ro") {
		s.Errorf("mounts:\n%s", mounts)
	}
	if out := s.service("", "diff"); !strings.Contains(out, "-programs  swapped") {
		s.Errorf("service diff:\n%s", out)
	}
}

// unmounted checks that the machine has unmounted its disk.
func (s swapper) unmounted() {
	s.Helper()
	if out := s.Console(); !strings.Contains(out, "shutdown mounts: unmounted") || strings.Contains(out, "is busy") {
		s.Error("the disk was not unmounted")
	}
}
