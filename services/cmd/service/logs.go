package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/logs/reader"
	"keelson/services/cli"
	"keelson/services/control"
)

// logRequest is a command line of logs.
type logRequest struct {
	names  []string
	lines  int
	follow bool
	log    logOptions
	out    io.Writer
	diag   io.Writer
}

// logOptions are the flags of logs that select lines by time or format them.
type logOptions struct {
	since, until, grep, format string
}

// logs is the verb that prints logs in the order of time.
func logs(out, diag io.Writer) cli.Verb {
	r := logRequest{out: out, diag: diag}
	return cli.Verb{
		Use: "logs [NAME…]", Group: cli.Look, Short: "print logs in the order of time", Max: -1, Names: cli.ServiceNames, Codes: []int{control.CodeNotFound},
		Long: "NAME is a service, onboot.NNN-NAME, containerd, kernel or keelson; without it, all are printed.\n" +
			"The output of one service, without other options than -f and -n, is printed as it is, stderr first.\n" +
			"TIME is a time such as 2026-02-03T04:05:06Z, \"2026-02-03 04:05\" or 15:04, a time before now such as\n-5m, or now, today or yesterday (docs/logs.md).",
		Example: "logs redis                    # the output of redis as it is\n" +
			"logs -f                       # follow everything, merged by time\n" +
			"logs --since -5m redis nginx  # of the last five minutes\n" +
			"logs --grep 'error|panic' -n 20  # the last 20 lines that match\nlogs -o json kernel           # one JSON object per line",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&r.follow, "follow", "f", false, "continue with lines to come")
			f.IntVarP(&r.lines, "lines", "n", 0, "only the last `NUMBER` lines")
			f.StringVar(&r.log.since, "since", "", "only lines since `TIME`")
			f.StringVar(&r.log.until, "until", "", "only lines before `TIME`")
			f.StringVar(&r.log.grep, "grep", "", "only lines that match `REGEX` (syntax of Go's regexp)")
			f.StringVarP(&r.log.format, "output", "o", "", "print in `FORMAT`: short, json or cat")
		},
		Run: func(ctx context.Context, names []string) (int, error) {
			r.names = names
			return r.print(ctx)
		},
	}
}

// print prints logs in the order of time. The output of one service, without a new option, is
// printed as LinuxKit's users expect it: as it is, stderr first.
func (inv logRequest) print(ctx context.Context) (int, error) {
	for _, name := range inv.names {
		if strings.ContainsRune(name, filepath.Separator) {
			return control.CodeNotFound, fmt.Errorf("no service is named %q", name)
		}
	}
	options, format, err := inv.log.parse(time.Now())
	if err != nil {
		return control.CodeUsage, err
	}
	if inv.follow && !options.Until.IsZero() {
		return control.CodeUsage, errors.New("logs: -f and --until exclude each other")
	}
	options.Names, options.Lines, options.Follow = inv.names, inv.lines, inv.follow
	set := reader.System()
	var plain error
	if len(inv.names) == 1 && inv.log == (logOptions{}) {
		var code int
		if code, plain = plainLogs(ctx, inv); code != control.CodeNotFound {
			return code, plain
		}
	}
	if err := missing(set, inv, plain); err != nil {
		return control.CodeNotFound, err
	}
	if err := printLogs(ctx, inv, set, options, format); err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}

// parse reads the texts of the flags.
func (o logOptions) parse(now time.Time) (r reader.Options, format reader.Format, err error) {
	for name, t := range map[string]struct {
		text string
		to   *time.Time
	}{"--since": {o.since, &r.Since}, "--until": {o.until, &r.Until}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = reader.ParseTime(t.text, now); err != nil {
			return r, nil, fmt.Errorf("logs: %s: %w", name, err)
		}
	}
	if o.grep != "" {
		if r.Match, err = regexp.Compile(o.grep); err != nil {
			return r, nil, fmt.Errorf("logs: --grep: %w", err)
		}
	}
	if o.format == "" {
		o.format = "short"
	}
	if format, err = reader.Formats(o.format); err != nil {
		return r, nil, fmt.Errorf("logs: -o: %w", err)
	}
	return r, format, nil
}

// missing returns an error for names without a log; plain, if that has one. A log that is
// followed may come later, unless it is to be printed as it is.
func missing(set reader.Set, inv logRequest, plain error) error {
	for _, name := range inv.names {
		found, err := set.Names(name)
		if err != nil {
			return err
		}
		switch {
		case len(found) > 0:
		case plain != nil:
			return plain
		case !inv.follow:
			return fmt.Errorf("no log is named %q", name)
		default:
			fmt.Fprintf(inv.diag, "service: there is no log %q yet; waiting for it\n", name)
		}
	}
	return nil
}

func printLogs(ctx context.Context, inv logRequest, set reader.Set, options reader.Options, format reader.Format) error {
	out := bufio.NewWriterSize(inv.out, 64<<10)
	var failed error
	options.Waiting = func() { failed = out.Flush() }
	var line []byte
	for e, err := range set.Read(ctx, options) {
		if err == nil {
			line = format(line[:0], e)
			_, err = out.Write(line)
		}
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return errors.Join(failed, out.Flush())
}
