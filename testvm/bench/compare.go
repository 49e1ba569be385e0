package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

// Pair is a boot of one image and the boot of another right after it.
type Pair struct{ A, B Run }

// Comparison holds the boots of two images in turn. Other load of the host affects both
// equally, so the ratios are reliable even if the times are not.
type Comparison struct {
	A, B  string // names
	Pairs []Pair
}

// pairedCPUs is the number of processors of a machine in real time.
const pairedCPUs = 2

// Compare boots two images that write the marks in turn: A B A B and so on. It uses the
// host's time and two processors, so unlike Measure it shows the effect of concurrency.
func Compare(ctx context.Context, a, b Options, pairs int) (*Comparison, error) {
	return inTurn(a, b, pairs, func(o Options) (run Run, err error) {
		arch, err := qemu.DetectArch(o.Kernel)
		if err != nil {
			return run, err
		}
		return byTheWall(ctx, o, arch, "")
	})
}

// byTheWall boots an image in the host's time.
func byTheWall(ctx context.Context, o Options, arch, accel string) (run Run, err error) {
	c := o.config(arch)
	c.CPUs, c.Accel = pairedCPUs, accel
	err = boot(ctx, c, func(v *vm.VM) (err error) {
		run, err = Parse(v.Console())
		return err
	})
	run.Idle = 0 // Waiting is a part of this time, and there are several processors.
	return run, err
}

func inTurn(a, b Options, pairs int, run func(Options) (Run, error)) (*Comparison, error) {
	if pairs < 1 {
		return nil, errors.New("cannot compare: want at least one pair of boots")
	}
	c := &Comparison{A: a.Name, B: b.Name}
	for i := range pairs {
		var p Pair
		var err error
		if p.A, err = run(a); err == nil {
			p.B, err = run(b)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot compare, pair %d of %d: %w", i+1, pairs, err)
		}
		c.Pairs = append(c.Pairs, p)
	}
	return c, nil
}

// Ratio compares one figure of two images.
type Ratio struct {
	Name, Unit  string
	A, B        float64 // medians
	Ratio       float64 // median of B/A of all pairs
	Least, Most float64 // of those
}

// Ratios compares all figures that are not zero.
func (c *Comparison) Ratios() []Ratio {
	var all []Ratio
	for _, q := range quantities {
		var a, b, ratios []float64
		for _, p := range c.Pairs {
			a, b = append(a, q.of(p.A)), append(b, q.of(p.B))
			if q.of(p.A) != 0 {
				ratios = append(ratios, q.of(p.B)/q.of(p.A))
			}
		}
		r := Ratio{Name: q.name, Unit: q.unit, A: median(a), B: median(b)}
		if len(ratios) > 0 {
			r.Ratio, r.Least, r.Most = median(ratios), slices.Min(ratios), slices.Max(ratios)
		}
		all = append(all, r)
	}
	return all
}

// median returns the median of at least one value.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// WriteTable prints the comparison as a table.
func (c *Comparison) WriteTable(w io.Writer) {
	fmt.Fprintf(w, "A: %s\nB: %s\nMedians by the clock on the wall, %d processors; pairs booted in turn: %d\n", c.A, c.B, pairedCPUs, len(c.Pairs))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tA\tB\tB/A\tleast\tmost\t\n")
	for _, r := range c.Ratios() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t\n", r.Name, quantity(r.A, r.Unit), quantity(r.B, r.Unit), r.Ratio, r.Least, r.Most)
	}
	_ = t.Flush()
}
