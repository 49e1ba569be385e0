package tests

import (
	"math"
	"testing"

	"golang.org/x/sync/errgroup"

	"keelson/testvm/bench"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// Measured twice, an image has the same figures.
func TestBenchAgrees(t *testing.T) {
	tier.VM(t)
	yaml, err := bench.ImageYAML(guestRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	out := vmtest.Image(t, "bench", qemu.AMD64, string(yaml))
	o := bench.Options{Name: "bench", Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline, Seeds: 1}
	var reports [2]*bench.Report
	g, ctx := errgroup.WithContext(vmtest.Context(t))
	for i := range reports {
		g.Go(func() (err error) {
			reports[i], err = bench.Measure(ctx, o)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, a := range reports[0].Figures {
		b := reports[1].Figures[i]
		if math.Abs(a.Value-b.Value) > tolerance*a.Value {
			t.Errorf("%s: %v and then %v %s", a.Name, a.Value, b.Value, a.Unit)
		}
	}
}

const tolerance = 0.01
