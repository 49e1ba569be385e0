package tests

import (
	"testing"

	"keelson/testvm/bench"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// Two boots in virtual time agree. What runs one after the other does so to
// 1 %; services start side by side, and in which order differs.
func TestBenchAgrees(t *testing.T) {
	tier.VM(t)
	yaml, err := bench.ImageYAML(guestRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	out := vmtest.Image(t, "bench", qemu.AMD64, string(yaml))
	report, err := bench.Measure(vmtest.Context(t), bench.Options{Name: "bench", Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Figures {
		// The way down is short, and its jitter is not the boot's.
		if f.Unit == "s" && f.Name != "power off" && f.Spread > tolerance {
			t.Errorf("two runs disagree about %s by %.1f %%", f.Name, f.Spread*100)
		}
	}
}

// tolerance leaves room for the order of parallel starts.
const tolerance = 0.1
