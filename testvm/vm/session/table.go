package session

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"keelson/runtime/timeline"
)

// WriteTable prints every step of a boot: its name, result, time since the kernel's start
// and duration.
func WriteTable(w io.Writer, events []timeline.Event) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AT\tSTEP\tTOOK\tRESULT")
	for _, e := range events {
		step := e.Stage
		if e.Name != "" {
			step += " " + e.Name
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", seconds(e.At), step, seconds(e.Took), e.Outcome())
	}
	_ = t.Flush() // a closed terminal is not a failure of the guest
}

func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.3fs", d.Seconds())
}
