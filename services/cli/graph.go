package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"keelson/services/control"
)

// graph is the verb that shows which services wait for which.
func (a *App) graph() Verb {
	var dot, asJSON bool
	return Verb{
		Use: "graph", Group: Look, Short: "show which services start after which, as a tree or for graphviz",
		Long:    "Below a service are those that start after it (keelson.after), or do not run without it\n(keelson.requires). One that waits for several is shown below each.",
		Example: "graph                           # a tree\ngraph --dot | dot -Tsvg >g.svg  # a picture, with graphviz",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&dot, "dot", false, "print the language of graphviz")
			f.BoolVar(&asJSON, "json", false, "print an array of Service (docs/api.yaml), with after and requires")
		},
		check: func([]string) error {
			if dot && asJSON {
				return fmt.Errorf("--dot and --json exclude each other")
			}
			return nil
		},
		Run: func(ctx context.Context, _ []string) (int, error) {
			r, err := a.Client.Call(ctx, control.Request{Verb: control.List})
			switch {
			case err != nil:
				return control.CodeFailed, a.explain(err)
			case r.Error != "":
				return a.failed(ctx, r, nil)
			case asJSON:
				return control.CodeOK, a.printJSON(append([]control.Service{}, r.Services...))
			case dot:
				_, err = fmt.Fprint(a.Out, dotText(r.Services))
			default:
				_, err = fmt.Fprint(a.Out, treeText(r.Services, a.coloured()))
			}
			return control.CodeOK, err
		},
	}
}

// treeText draws services below those that they wait for. What is below a service is drawn once.
func treeText(services []control.Service, coloured bool) string {
	var b strings.Builder
	drawn := map[string]bool{}
	var draw func(s control.Service, above, first, rest string)
	draw = func(s control.Service, above, first, rest string) {
		fmt.Fprintf(&b, "%s%s %s", first, s.Name, paint(cell{s.State, stateStyle(s.State)}, coloured))
		if slices.Contains(s.Requires, above) {
			b.WriteString(" (requires " + above + ")")
		}
		var below []control.Service
		for _, other := range services {
			if slices.Contains(other.After, s.Name) {
				below = append(below, other)
			}
		}
		if drawn[s.Name] && len(below) > 0 {
			b.WriteString(" …")
			below = nil
		}
		drawn[s.Name] = true
		b.WriteByte('\n')
		for i, other := range below {
			if i < len(below)-1 {
				draw(other, s.Name, rest+"├─ ", rest+"│  ")
			} else {
				draw(other, s.Name, rest+"└─ ", rest+"   ")
			}
		}
	}
	for _, s := range services {
		if len(s.After) == 0 {
			draw(s, "", "", "")
		}
	}
	for _, s := range services { // The supervisor's graph has no cycles; another one's might.
		if !drawn[s.Name] {
			draw(s, "", "", "")
		}
	}
	return b.String()
}

// dotText returns the graph in the language of graphviz: an arrow leads to what starts later, a
// bold one to what requires it.
func dotText(services []control.Service) string {
	var b strings.Builder
	b.WriteString("digraph services {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n")
	colours := map[string]string{good: "green", warn: "orange", bad: "red"}
	for _, s := range services {
		fmt.Fprintf(&b, "  %s [tooltip=%s", strconv.Quote(s.Name), strconv.Quote(s.State))
		if colour := colours[stateStyle(s.State)]; colour != "" {
			b.WriteString(", color=" + colour)
		}
		b.WriteString("];\n")
	}
	for _, s := range services {
		for _, first := range s.After {
			fmt.Fprintf(&b, "  %s -> %s", strconv.Quote(first), strconv.Quote(s.Name))
			if slices.Contains(s.Requires, first) {
				b.WriteString(" [style=bold]")
			}
			b.WriteString(";\n")
		}
	}
	b.WriteString("}\n")
	return b.String()
}
