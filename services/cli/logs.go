package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/logs/reader"
	"keelson/services/control"
)

// LogOptions are the options of the verb that prints logs.
type LogOptions struct {
	Query     control.LogQuery
	Format    string
	ListBoots bool
}

// LogsVerb returns the verb that prints logs, without Run: its flags set o.
func LogsVerb(o *LogOptions) Verb {
	q := &o.Query
	return Verb{
		Use: "logs [NAME…]", Group: Look, Short: "print logs in the order of time", Max: -1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Long: "NAME is a service, onboot.NNN-NAME, containerd, kernel or keelson; without it, all are printed.\n" +
			"TIME is a time such as 2026-02-03T04:05:06Z, \"2026-02-03 04:05\" or 15:04, a time before now such as\n-5m, or now, today or yesterday (docs/logs.md).\n" +
			"When /var is on a disk, logs of the last boots are kept: --boot 0 is the boot that runs, -1 the one before.",
		Example: "logs redis                    # the output of redis\n" +
			"logs -f                       # follow everything, merged by time\n" +
			"logs --since -5m redis nginx  # of the last five minutes\n" +
			"logs --grep 'error|panic' -n 20  # the last 20 lines that match\nlogs -o json kernel           # one JSON object per line\n" +
			"logs --boot -1 kernel         # of the last boot, with the last words of a kernel that crashed",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&q.Follow, "follow", "f", false, "continue with lines to come")
			f.IntVarP(&q.Lines, "lines", "n", 0, "only the last `NUMBER` lines")
			f.StringVar(&q.Since, "since", "", "only lines since `TIME`")
			f.StringVar(&q.Until, "until", "", "only lines before `TIME`")
			f.StringVar(&q.Grep, "grep", "", "only lines that match `REGEX` (syntax of Go's regexp)")
			f.StringVar(&q.Boot, "boot", "", "only lines of boot `N`: 0 for the one that runs, -1 for the one before, and so on")
			f.BoolVar(&o.ListBoots, "list-boots", false, "list the boots of which logs are kept, and how they ended")
			f.StringVarP(&o.Format, "output", "o", "", "print in `FORMAT`: short, json or cat")
		},
	}
}

// logs is the verb that prints logs of a system, which reads them itself.
func (a *App) logs() Verb {
	var o LogOptions
	v := LogsVerb(&o)
	v.Run = func(ctx context.Context, names []string) (int, error) {
		if o.ListBoots {
			k, err := a.Client.KeptBoots(ctx)
			if err != nil {
				return control.CodeFailed, a.explain(err)
			}
			return PrintBoots(a.Out, k, o, names)
		}
		q := o.Query
		print, err := reader.Formats(cmp.Or(o.Format, "short"))
		if err != nil {
			return control.CodeUsage, fmt.Errorf("logs: -o: %w", err)
		}
		q.Names = names
		err = a.printLogs(ctx, q, print)
		if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
			return max(refused.Code, control.CodeFailed), fmt.Errorf("logs: %w", err)
		}
		if ctx.Err() != nil && q.Follow {
			return control.CodeOK, nil
		}
		if err != nil {
			return control.CodeFailed, a.explain(err)
		}
		return control.CodeOK, nil
	}
	return v
}

// PrintBoots prints boots as logs --list-boots does. Options that select lines make no sense then.
func PrintBoots(out io.Writer, k control.KeptBoots, o LogOptions, names []string) (int, error) {
	q := o.Query
	if len(names) > 0 || q.Lines != 0 || q.Follow || q.Since+q.Until+q.Grep+q.Boot != "" || o.Format != "" && o.Format != "short" && o.Format != "json" {
		return control.CodeUsage, errors.New("logs: --list-boots takes only -o short or -o json")
	}
	if o.Format == "json" {
		text, err := json.Marshal(k.Boots)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", text)
		}
		return codeOf(err), err
	}
	t := table{titles(">BOOT", "BEGAN", "SEEN", "END")}
	for _, b := range k.Boots {
		t.row(b.Boot, shortTime(b.Began), shortTime(b.Seen), cmp.Or(b.End, "-"))
	}
	_, err := fmt.Fprint(out, t.text(false))
	return codeOf(err), err
}

// shortTime returns a time to the second, in UTC.
func shortTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func codeOf(err error) int {
	if err != nil {
		return control.CodeFailed
	}
	return control.CodeOK
}

// printLogs prints logs that the system reads itself.
func (a *App) printLogs(ctx context.Context, q control.LogQuery, format reader.Format) error {
	out := bufio.NewWriterSize(a.Out, 64<<10)
	var line []byte
	err := a.Client.Logs(ctx, q, func(o reader.Object, more bool) error {
		e, err := o.Entry()
		if err != nil {
			return err
		}
		if lost := e.Lost(); lost != "" {
			fmt.Fprintf(a.Err, "%s: logs: %s\n", a.Name, lost)
		}
		line = format(line[:0], e)
		_, err = out.Write(line)
		if err == nil && !more {
			err = out.Flush()
		}
		return err
	})
	return errors.Join(err, out.Flush())
}
