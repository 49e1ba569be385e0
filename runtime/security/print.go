package security

import (
	"fmt"
	"io"
	"text/tabwriter"

	"keelson/runtime/privilege"
)

// PrintTable prints a line for each report.
func PrintTable(out io.Writer, reports []Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSCORE\tRATING\tFINDINGS\tWORST")
	for _, r := range reports {
		worst := "-"
		if len(r.Findings) > 0 {
			worst = r.Findings[0].String()
		}
		fmt.Fprintf(w, "%s\t%.1f\t%s\t%d\t%s\n", privilege.Shorten(r.Name), r.Score, r.Rating, len(r.Findings), worst)
	}
	return w.Flush()
}

// Print prints a report with its findings.
func (r Report) Print(out io.Writer) error {
	_, err := fmt.Fprintf(out, "%s: %.1f of 10, %s\n", privilege.Shorten(r.Name), r.Score, r.Rating)
	for _, f := range r.Findings {
		if err == nil {
			_, err = fmt.Fprintf(out, "\n%.1f  %s\n     %s\n     %s\n", f.Weight, f, f.Why, f.Advice)
		}
	}
	return err
}

// String returns field, item and value on one line.
func (f Finding) String() string {
	if f.Item == "" || f.Item == f.Is {
		return f.Field + ": " + f.Is
	}
	return f.Field + ": " + f.Item + ": " + f.Is
}
