package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"keelson/runtime/logs/reader"
	"keelson/services/cli"
	"keelson/services/control"
)

// logRequest is a command line of logs.
type logRequest struct {
	cli.LogOptions
	out  io.Writer
	diag io.Writer
}

// logs is the verb that prints logs in the order of time. It reads them without the supervisor.
func logs(out, diag io.Writer) cli.Verb {
	r := &logRequest{out: out, diag: diag}
	v := cli.LogsVerb(&r.LogOptions)
	v.Long += "\nThe output of one service, without other options than -f and -n, is printed as it is, stderr first."
	v.Run = func(ctx context.Context, names []string) (int, error) {
		if r.ListBoots {
			k, err := control.ReadKeptBoots(reader.System())
			if err != nil {
				return control.CodeFailed, err
			}
			return cli.PrintBoots(out, k, r.LogOptions, names)
		}
		r.Query.Names = names
		return r.print(ctx)
	}
	return v
}

// print prints logs in the order of time. The output of one service, without a new option, is
// printed as LinuxKit's users expect it: as it is, stderr first.
func (inv *logRequest) print(ctx context.Context) (int, error) {
	q := inv.Query
	for _, name := range q.Names {
		if strings.ContainsRune(name, filepath.Separator) {
			return control.CodeNotFound, fmt.Errorf("no service is named %q", name)
		}
	}
	options, err := q.Options(time.Now())
	if err != nil {
		return control.CodeUsage, fmt.Errorf("logs: %w", err)
	}
	format, err := reader.Formats(cmp.Or(inv.Format, "short"))
	if err != nil {
		return control.CodeUsage, fmt.Errorf("logs: -o: %w", err)
	}
	set, err := q.Of(reader.System())
	if errors.Is(err, reader.ErrNoBoot) {
		return control.CodeNotFound, fmt.Errorf("logs: %w", err)
	}
	if err != nil {
		return control.CodeUsage, fmt.Errorf("logs: %w", err)
	}
	var plain error
	if len(q.Names) == 1 && q.Since+q.Until+q.Grep+q.Boot+inv.Format == "" {
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

// missing returns an error for names without a log; plain, if that has one. A log that is
// followed may come later, unless it is to be printed as it is.
func missing(set reader.Set, inv *logRequest, plain error) error {
	for _, name := range inv.Query.Names {
		found, err := set.Names(name)
		if err != nil {
			return err
		}
		switch {
		case len(found) > 0:
		case plain != nil:
			return plain
		case !inv.Query.Follow:
			return fmt.Errorf("no log is named %q", name)
		default:
			fmt.Fprintf(inv.diag, "service: there is no log %q yet; waiting for it\n", name)
		}
	}
	return nil
}

func printLogs(ctx context.Context, inv *logRequest, set reader.Set, options reader.Options, format reader.Format) error {
	out := bufio.NewWriterSize(inv.out, 64<<10)
	var failed error
	options.Waiting = func() { failed = out.Flush() }
	var line []byte
	for e, err := range set.Read(ctx, options) {
		if err == nil {
			if lost := e.Lost(); lost != "" {
				fmt.Fprintf(inv.diag, "service: logs: %s\n", lost)
			}
			line = format(line[:0], e)
			_, err = out.Write(line)
		}
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return errors.Join(failed, out.Flush())
}
