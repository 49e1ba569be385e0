package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/cmdline"
)

// The machine is reset only if a power-off is sure to leave a virtual machine halted
// forever.
func TestResetForPowerOff(t *testing.T) {
	microVM := powerFacts{arch: "amd64", virtual: true}
	for _, tc := range []struct {
		name  string
		line  string
		facts powerFacts
		reset bool
		why   bool
	}{
		{"microVM without ACPI", "", microVM, true, true},
		{"virtual machine with ACPI", "", powerFacts{arch: "amd64", virtual: true, handler: true}, false, false},
		{"hardware without ACPI", "", powerFacts{arch: "amd64"}, false, false},
		{"board", "", powerFacts{arch: "arm64"}, false, false},
		{"virtual arm64", "", powerFacts{arch: "arm64", virtual: true}, false, false},
		{"overridden", "keelson.poweroff=off", microVM, false, false},
		{"asked for", "keelson.poweroff=reset", powerFacts{arch: "arm64", handler: true}, true, true},
		{"unknown value", "keelson.poweroff=x", powerFacts{arch: "arm64"}, false, true},
	} {
		reset, why := resetForPowerOff(cmdline.Parse(tc.line), func() powerFacts { return tc.facts })
		if reset != tc.reset || (why != "") != tc.why {
			t.Errorf("%s: %v, %q", tc.name, reset, why)
		}
	}
}

func TestReadPowerFacts(t *testing.T) {
	root := t.TempDir()
	if f := readPowerFacts(root); f.virtual || !f.handler {
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
	if f := readPowerFacts(root); !f.virtual || f.handler {
		t.Errorf("of a microVM: %+v", f)
	}
	if err := os.MkdirAll(filepath.Join(root, "sys/firmware/acpi"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f := readPowerFacts(root); !f.handler {
		t.Errorf("with ACPI: %+v", f)
	}
}
