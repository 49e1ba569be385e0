package pid1

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/init/cmdline"
)

// A reset takes the place of power-off only where that is sure to halt a
// virtual machine for ever.
func TestLast(t *testing.T) {
	microVM := powerFacts{arch: "amd64", virtual: true}
	for _, tc := range []struct {
		name  string
		asked action
		line  string
		facts powerFacts
		want  action
		said  bool
	}{
		{"microVM without ACPI", powerOff, "", microVM, reboot, true},
		{"halt is meant", halt, "", microVM, halt, false},
		{"reboot", reboot, "", microVM, reboot, false},
		{"virtual machine with ACPI", powerOff, "", powerFacts{arch: "amd64", virtual: true, handler: true}, powerOff, false},
		{"hardware without ACPI", powerOff, "", powerFacts{arch: "amd64"}, powerOff, false},
		{"board", powerOff, "", powerFacts{arch: "arm64"}, powerOff, false},
		{"virtual arm64", powerOff, "", powerFacts{arch: "arm64", virtual: true}, powerOff, false},
		{"overridden", powerOff, "keelson.poweroff=off", microVM, powerOff, false},
		{"asked for", powerOff, "keelson.poweroff=reset", powerFacts{arch: "arm64", handler: true}, reboot, true},
		{"nonsense", powerOff, "keelson.poweroff=x", powerFacts{arch: "arm64"}, powerOff, true},
	} {
		got, why := last(tc.asked, cmdline.Parse(tc.line), func() powerFacts { return tc.facts })
		if got != tc.want || (why != "") != tc.said {
			t.Errorf("%s: %s, %q", tc.name, got.name, why)
		}
	}
}

func TestLookAtPower(t *testing.T) {
	root := t.TempDir()
	if f := lookAtPower(root); f.virtual || !f.handler {
		t.Errorf("without /proc and /sys: %+v", f)
	}
	for _, dir := range []string{"proc", "sys/kernel"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "proc/cpuinfo"), []byte("flags\t\t: fpu hypervisor lahf_lm\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := lookAtPower(root); !f.virtual || f.handler {
		t.Errorf("of a microVM: %+v", f)
	}
	if err := os.MkdirAll(filepath.Join(root, "sys/firmware/acpi"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f := lookAtPower(root); !f.handler {
		t.Errorf("with ACPI: %+v", f)
	}
}
