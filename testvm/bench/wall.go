package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"keelson/testvm/qemu"
)

// Wall is a measurement of several images by the wall clock, in turn, so that other load of the host
// affects all of them.
type Wall struct {
	Accel string
	Names []string
	Runs  [][]Run // of each image, one for each round
}

// MeasureWall boots each image once in every round, under KVM where that works.
func MeasureWall(ctx context.Context, images []Options, rounds int) (*Wall, error) {
	if rounds < 1 {
		return nil, errors.New("cannot measure by the wall clock: want at least one round")
	}
	w := &Wall{Accel: qemu.KVM, Runs: make([][]Run, len(images))}
	archs := make([]string, len(images))
	for i, o := range images {
		var err error
		if archs[i], err = qemu.DetectArch(o.Kernel); err != nil {
			return nil, err
		}
		accel, err := qemu.Accelerator(ctx, archs[i], o.Kernel)
		if err != nil {
			return nil, err
		}
		if accel != qemu.KVM { // If one cannot use it, none does.
			w.Accel = accel
		}
		w.Names = append(w.Names, o.Name)
	}
	for round := range rounds {
		for i, o := range images {
			run, err := byTheWall(ctx, o, archs[i], w.Accel)
			if err != nil {
				return nil, fmt.Errorf("cannot measure %s, round %d of %d: %w", o.Name, round+1, rounds, err)
			}
			w.Runs[i] = append(w.Runs[i], run)
		}
	}
	return w, nil
}

// WriteTable prints the median of each figure of each image, and how many times as much the first image
// needs: the median of the ratios of all rounds.
func (w *Wall) WriteTable(out io.Writer) {
	fmt.Fprintf(out, "Medians by the wall clock, %s, %d processors; %d rounds, the images in turn\n", w.Accel, pairedCPUs, len(w.Runs[0]))
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i, name := range w.Names {
		fmt.Fprintf(t, "\t%s", name)
		if i > 0 {
			fmt.Fprint(t, "\tratio")
		}
	}
	fmt.Fprintln(t, "\t")
	for _, q := range quantities {
		fmt.Fprint(t, q.name)
		for i, runs := range w.Runs {
			var values, ratios []float64
			for n, run := range runs {
				values = append(values, q.of(run))
				if own := q.of(run); own != 0 {
					ratios = append(ratios, q.of(w.Runs[0][n])/own)
				}
			}
			fmt.Fprintf(t, "\t%s", quantity(median(values), q.unit))
			switch {
			case i > 0 && len(ratios) > 0:
				fmt.Fprintf(t, "\t%.2f", median(ratios))
			case i > 0:
				fmt.Fprint(t, "\t-")
			}
		}
		fmt.Fprintln(t, "\t")
	}
	_ = t.Flush()
}
