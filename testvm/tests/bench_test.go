package tests

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"keelson/testvm/bench"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// No figure exceeds its budget (testvm/bench/budget.json).
func TestBench(t *testing.T) {
	t.Parallel()
	_, report := withinBudget(t, bench.Processors[0])
	wantStages(t, report)
}

// Two measurements of an image agree.
func TestBenchAgrees(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	o, report := withinBudget(t, bench.Processors[0])
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

// No figure exceeds its budget on the other processors.
func TestBenchProcessors(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	for _, processor := range bench.Processors[1:] {
		withinBudget(t, processor)
	}
}

// withinBudget measures the image on a processor.
func withinBudget(t *testing.T, processor string) (bench.Options, *bench.Report) {
	t.Helper()
	o := benchImage(t, "bench", bench.ImageYAML)
	o.Processor = processor
	// Other tests boot machines on the other processors.
	o.Seeds, o.Parallel = tier.Extent(2, bench.Seeds), 1
	report, err := bench.Measure(vmtest.Context(t), o)
	if err != nil {
		t.Fatal(err)
	}
	budget, err := bench.Budget(processor)
	if err != nil {
		t.Fatal(err)
	}
	for _, over := range report.Over(budget) {
		t.Errorf("%s: %s", processor, over)
	}
	return o, report
}

// benchImage builds an image of the benchmark once.
func benchImage(t *testing.T, name string, yamlFor func(string) ([]byte, error)) bench.Options {
	t.Helper()
	tier.VM(t)
	return measures.Get(name, func() bench.Options {
		yaml, err := yamlFor(guestRoot(t))
		if err != nil {
			t.Fatal(err)
		}
		out := vmtest.Build(t, image.Options{YAML: yaml, Name: name, Arch: qemu.AMD64})
		return bench.Options{Name: name, Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline}
	})
}

// wantStages checks that the stages that init reports agree with the marks that
// containers wrote to the kernel log.
func wantStages(t *testing.T, r *bench.Report) {
	t.Helper()
	value := func(name string) float64 {
		i := slices.IndexFunc(r.Figures, func(f bench.Figure) bool { return f.Name == name })
		return r.Figures[i].Value
	}
	for name, end := range map[string]struct{ mark, within float64 }{
		"/init starts":       {0, 0.03}, // Go's start, and the first threads.
		"onboot 000-one":     {value("/init to onboot 1"), 0.015},
		"onboot 002-three":   {value("/init to onboot 3"), 0.015},
		"service zthree":     {value("/init to 3rd service"), 0.1}, // Not always the third.
		"kernel powers down": {r.Runs[0].Requested + value("power off"), 0.05},
	} {
		i := slices.IndexFunc(r.Stages, func(s bench.Stage) bool { return s.Name == name })
		if i < 0 {
			t.Errorf("no stage %q in %+v", name, r.Stages)
			continue
		}
		// Stages are reported in ms; one that is shorter may have no instructions.
		if s := r.Stages[i]; math.Abs(s.End()-end.mark) > end.within || s.Length > 0 && s.Instructions <= 0 {
			t.Errorf("%+v: want the end at %v", s, end.mark)
		}
	}
}

// Each program of the guest needs instructions to start, and the initialisation of its
// packages is a part of them.
func TestBenchStartup(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	all, err := bench.MeasureStartup(vmtest.Context(t), benchImage(t, "startup", bench.StartupYAML))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/init", "/usr/bin/service", "/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/runc"} {
		i := slices.IndexFunc(all, func(s bench.Startup) bool { return s.Path == path })
		if i < 0 {
			t.Errorf("%s was not measured: %+v", path, all)
			continue
		}
		var inits int64
		for _, p := range all[i].Initialisers {
			inits += p.Instructions
		}
		if inits <= 0 || all[i].Instructions < inits || all[i].Instructions > 200e6 {
			t.Errorf("%s: %d instructions, of which %d initialise %d packages", path, all[i].Instructions, inits, len(all[i].Initialisers))
		}
	}
}

// An image is compared with itself on two processors: both boots have all marks. The
// difference of their times depends on the load of the host and is not checked.
func TestBenchCompare(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	o := benchImage(t, "bench", bench.ImageYAML)
	c, err := bench.Compare(vmtest.Context(t), o, o, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Ratios() {
		if r.A <= 0 || r.B <= 0 || r.Ratio != r.B/r.A {
			t.Errorf("got %+v", r)
		}
	}
	if p := c.Pairs[0]; reflect.DeepEqual(p.A.Services, p.B.Services) {
		t.Errorf("two boots in wall-clock time took the same to the microsecond: %v", p.A.Services)
	}
}
