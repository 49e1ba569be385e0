package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"keelson/runtime/logs/reader"
	"keelson/services/control"
)

// LogsVerb returns the verb that prints logs, without Run: its flags set q and the name of the
// format.
func LogsVerb(q *control.LogQuery, format *string) Verb {
	return Verb{
		Use: "logs [NAME…]", Group: Look, Short: "print logs in the order of time", Max: -1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Long: "NAME is a service, onboot.NNN-NAME, containerd, kernel or keelson; without it, all are printed.\n" +
			"TIME is a time such as 2026-02-03T04:05:06Z, \"2026-02-03 04:05\" or 15:04, a time before now such as\n-5m, or now, today or yesterday (docs/logs.md).",
		Example: "logs redis                    # the output of redis\n" +
			"logs -f                       # follow everything, merged by time\n" +
			"logs --since -5m redis nginx  # of the last five minutes\n" +
			"logs --grep 'error|panic' -n 20  # the last 20 lines that match\nlogs -o json kernel           # one JSON object per line",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&q.Follow, "follow", "f", false, "continue with lines to come")
			f.IntVarP(&q.Lines, "lines", "n", 0, "only the last `NUMBER` lines")
			f.StringVar(&q.Since, "since", "", "only lines since `TIME`")
			f.StringVar(&q.Until, "until", "", "only lines before `TIME`")
			f.StringVar(&q.Grep, "grep", "", "only lines that match `REGEX` (syntax of Go's regexp)")
			f.StringVarP(format, "output", "o", "", "print in `FORMAT`: short, json or cat")
		},
	}
}

// logs is the verb that prints logs of a system, which reads them itself.
func (a *App) logs() Verb {
	var q control.LogQuery
	var format string
	v := LogsVerb(&q, &format)
	v.Run = func(ctx context.Context, names []string) (int, error) {
		if format == "" {
			format = "short"
		}
		print, err := reader.Formats(format)
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
