package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Beside is a measurement of keelson and one of another init, on the same processor and in the same
// way.
type Beside struct{ Peer, Own *Report }

// WriteBeside prints the figures of both on each processor, and how many times as much the other
// init needs.
func WriteBeside(w io.Writer, all []Beside) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s beside %s, virtual time\n", all[0].Own.Name, all[0].Peer.Name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\t")
	for _, b := range all {
		fmt.Fprintf(t, "%s:\t%s\t%s\tratio\t", b.Own.Processor, b.Peer.Name, b.Own.Name)
	}
	fmt.Fprintln(t)
	for i, f := range all[0].Own.Figures {
		fmt.Fprintf(t, "%s\t", f.Name)
		for _, b := range all {
			peer, own := b.Peer.Figures[i], b.Own.Figures[i]
			fmt.Fprintf(t, "\t%s\t%s\t%s\t", quantity(peer.Value, peer.Unit), quantity(own.Value, own.Unit), ratio(peer.Value, own.Value))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}

func ratio(peer, own float64) string {
	if own == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", peer/own)
}

// Reference returns what the chart shows of a measurement.
func (r *Report) Reference() Reference {
	return Reference{Name: r.Name, ThirdOnboot: r.figure("/init to onboot 3"), ThirdRun: r.figure("/init to 3rd service")}
}
