package tests

import (
	"math"
	"testing"

	"keelson/testvm/bench"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// No figure is over its budget (testvm/bench/budget.json), and measured twice an
// image has the same figures.
func TestBenchAgrees(t *testing.T) {
	tier.VM(t)
	yaml, err := bench.ImageYAML(guestRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	out := vmtest.Image(t, "bench", qemu.AMD64, string(yaml))
	o := bench.Options{Name: "bench", Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline}
	report, err := bench.Measure(vmtest.Context(t), o)
	if err != nil {
		t.Fatal(err)
	}
	budget, err := bench.Budget()
	if err != nil {
		t.Fatal(err)
	}
	for _, over := range report.Over(budget) {
		t.Error(over)
	}
	o.Seeds = 1
	once, err := bench.Measure(vmtest.Context(t), o)
	if err != nil {
		t.Fatal(err)
	}
	first := &bench.Report{Runs: report.Runs[:1]}
	first.Summarize()
	for i, a := range first.Figures {
		b := once.Figures[i]
		if math.Abs(a.Value-b.Value) > tolerance*a.Value {
			t.Errorf("%s: %v and then %v %s", a.Name, a.Value, b.Value, a.Unit)
		}
	}
}

const tolerance = 0.01
