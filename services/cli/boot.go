package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/timeline"
	"keelson/runtime/timeline/chart"
	"keelson/services/control"
)

// timeline returns the events of the boot.
func (a *App) timeline(ctx context.Context) ([]timeline.Event, error) {
	if a.Machine != nil {
		return a.Machine.Timeline()
	}
	b, err := a.Client.Boot(ctx)
	return b.Events, err
}

// bootVerb completes a verb that shows the timeline.
func (a *App) bootVerb(v Verb, show func([]timeline.Event) error) Verb {
	v.Group = Look
	v.Run = func(ctx context.Context, _ []string) (int, error) {
		all, err := a.timeline(ctx)
		if err != nil {
			return control.CodeFailed, err
		}
		return control.CodeOK, show(all)
	}
	return v
}

// boot is the verb that prints the timeline, which PID 1, the boot role and the supervisor write.
func (a *App) boot() Verb {
	var asJSON bool
	return a.bootVerb(Verb{
		Use: "boot", Short: "print the timeline of the boot",
		Example: "boot         # each step with its time since the start of the kernel\nboot --json  # for programs",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print an array of BootEvent (docs/api.yaml)")
		},
	}, func(all []timeline.Event) error {
		if asJSON {
			return a.printJSON(all)
		}
		end := timeline.UpAt(all)
		t := table{titles(">AT", ">TOOK", "", "STAGE", "NAME", "RESULT")}
		for _, e := range all {
			took := "-"
			if e.Took > 0 {
				took = fmt.Sprintf("%.3fs", e.Took.Seconds())
			}
			t.row(fmt.Sprintf("%.3fs", e.At.Seconds()), took, bars(e.At-e.Took, e.At, end), e.Stage, cmp.Or(e.Name, "-"), e.Outcome())
		}
		return a.print(t)
	})
}

// onboot is the verb that prints what became of the onboot containers.
func (a *App) onboot() Verb {
	var asJSON bool
	return a.bootVerb(Verb{
		Use: "onboot", Short: "print the results of the onboot containers",
		Long:    "Each attempt has a line. What they wrote: logs onboot.NNN-NAME.",
		Example: "onboot         # each with its result, and what followed a failure\nonboot --json  # for programs",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print an array of BootEvent (docs/api.yaml)")
		},
	}, func(all []timeline.Event) error {
		results := slices.DeleteFunc(slices.Clone(all), func(e timeline.Event) bool { return e.Stage != timeline.Onboot || e.Name == "" })
		if asJSON {
			return a.printJSON(append([]timeline.Event{}, results...))
		}
		t := table{titles("NAME", ">AT", ">TOOK", "RESULT")}
		for _, e := range results {
			style := bad
			if e.Result == succeeded {
				style = good
			}
			t.row(e.Name, fmt.Sprintf("%.3fs", e.At.Seconds()), fmt.Sprintf("%.3fs", e.Took.Seconds()), cell{e.Outcome(), style})
		}
		return a.print(t)
	})
}

// barWidth is the width of a time axis in letters.
const barWidth = 24

// bars returns a bar from begin to end on an axis that ends at last. What is later has none.
func bars(begin, end, last time.Duration) string {
	if last <= 0 || end <= 0 || begin > last {
		return strings.Repeat(".", barWidth)
	}
	at := func(d time.Duration) int { return int(min(max(d, 0), last) * barWidth / last) }
	from := min(at(begin), barWidth-1)
	to := max(at(end), from+1)
	return strings.Repeat(".", from) + strings.Repeat("#", to-from) + strings.Repeat(".", barWidth-to)
}

// blame is the verb that sorts the steps of the boot by cost.
func (a *App) blame() Verb {
	var asJSON bool
	return a.bootVerb(Verb{
		Use: "blame", Short: "print the steps of the boot and the starts of services, the longest first",
		Long:    "Steps run at the same time: the boot is shorter only if one on the critical path is, which have a *.",
		Example: "blame         # what takes longest\nblame --json  # for programs",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print an array of Step: name, begin, end (nanoseconds), critical, whole")
		},
	}, func(all []timeline.Event) error {
		steps := slices.DeleteFunc(timeline.Steps(all), func(s timeline.Step) bool { return s.Whole })
		slices.SortStableFunc(steps, func(x, y timeline.Step) int { return cmp.Compare(y.Length(), x.Length()) })
		if asJSON {
			return a.printJSON(append([]timeline.Step{}, steps...))
		}
		for _, s := range steps {
			mark := " "
			if s.Critical {
				mark = "*"
			}
			if _, err := fmt.Fprintf(a.Out, "%9.3fs %s %s\n", s.Length().Seconds(), mark, s.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// chart is the verb that draws the timeline.
func (a *App) chart() Verb {
	var svg string
	return a.bootVerb(Verb{
		Use: "timeline", Short: "draw the boot: bars of its steps, with the critical path",
		Long: "The critical path, with a *, is the chain of steps that each wait for the end of the one before,\n" +
			"from the last step until the system was up.",
		Example: "timeline                 # bars of letters\ntimeline --svg boot.svg  # a picture\ntimeline --svg -         # on standard output",
		Flags: func(f *pflag.FlagSet) {
			f.StringVar(&svg, "svg", "", "write a picture to `FILE`, or to standard output for -")
		},
	}, func(all []timeline.Event) error {
		switch steps := timeline.Steps(all); {
		case len(steps) == 0:
			return errors.New("the timeline has no steps")
		case svg == "-":
			_, err := a.Out.Write(chart.Boot(steps))
			return err
		case svg != "":
			return os.WriteFile(svg, chart.Boot(steps), 0o644)
		default:
			return a.printSteps(steps)
		}
	})
}

func (a *App) printSteps(steps []timeline.Step) error {
	end := timeline.End(steps)
	t := table{titles(">BEGIN", ">TOOK", " ", "", "STEP")}
	for _, s := range steps {
		mark := " "
		if s.Critical {
			mark = "*"
		}
		t.row(fmt.Sprintf("%.3fs", s.Begin.Seconds()), fmt.Sprintf("%.3fs", s.Length().Seconds()), mark, bars(s.Begin, s.End, end), s.Name)
	}
	return a.print(t)
}
