package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"keelson/runtime/logs/reader"
	"keelson/services/control"
)

// logOptions are the flags of logs that select lines by time or format them.
type logOptions struct {
	since, until, grep, format string
}

func logFlags(f *flag.FlagSet, inv *invocation) {
	f.BoolVar(&inv.follow, "f", false, "")
	f.IntVar(&inv.lines, "n", 0, "")
	f.StringVar(&inv.log.since, "since", "", "")
	f.StringVar(&inv.log.until, "until", "", "")
	f.StringVar(&inv.log.grep, "grep", "", "")
	f.StringVar(&inv.log.format, "o", "", "")
}

// logs prints logs in the order of time. The output of one service, without a new option, is
// printed as LinuxKit's users expect it: as it is, stderr first.
func logs(ctx context.Context, inv invocation) (int, error) {
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
func missing(set reader.Set, inv invocation, plain error) error {
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
			fmt.Fprintf(os.Stderr, "service: there is no log %q yet; waiting for it\n", name)
		}
	}
	return nil
}

func printLogs(ctx context.Context, inv invocation, set reader.Set, options reader.Options, format reader.Format) error {
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
