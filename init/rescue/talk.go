package rescue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"keelson/init/policy"
	"keelson/runtime/oneshot"
)

const prompt = "rescue> "

// talk is the prompt on a terminal, until that ends.
type talk struct {
	session  *Session
	terminal *os.File
	lines    chan input
	heard    bool // somebody has typed something
}

// run asks until there is an answer.
func (t *talk) run(ctx context.Context) (answer, policy.Action) {
	// Neither reading nor writing may outlast ctx.
	defer context.AfterFunc(ctx, func() { t.terminal.Close() })()
	t.lines = make(chan input)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		readLines(t.terminal, t.lines, stop)
	}()
	defer func() {
		close(stop)
		makeSane(t.terminal, nil) // for whoever has it next
		t.terminal.Close()
		<-ended
	}()
	say(t.terminal, "\nType help for what can be done.\n")
	for {
		t.session.flush(ctx)
		say(t.terminal, prompt)
		select {
		case <-ctx.Done():
			return decided, policy.Wait
		case in := <-t.lines:
			if how, action, done := t.heed(ctx, in); done {
				return how, action
			}
		}
	}
}

// heed does what was typed; done tells that the talk is over.
func (t *talk) heed(ctx context.Context, in input) (how answer, action policy.Action, done bool) {
	switch {
	case in.err == nil:
		t.heard = true
	case errors.Is(in.err, errInterrupt):
		say(t.terminal, "\n")
		return 0, 0, false
	case errors.Is(in.err, errLong):
		say(t.terminal, in.err.Error()+"\n")
		return 0, 0, false
	default:
		say(t.terminal, "\nThis does not leave: type retry, continue, reboot, poweroff or halt.\n")
		return atEnd, 0, true
	}
	o, err := parse(in.line)
	if err != nil {
		say(t.terminal, err.Error()+"\n")
		return 0, 0, false
	}
	return t.obey(ctx, o)
}

func (t *talk) obey(ctx context.Context, o order) (how answer, action policy.Action, done bool) {
	switch o.verb {
	case "help":
		t.help()
	case "list":
		t.list()
	case "log":
		t.log(o)
	case "dmesg":
		t.dmesg(o)
	case "shell":
		if t.session.Shell != nil {
			return toShell, 0, true
		}
		say(t.terminal, "The image has no shell for rescue: no service with keelson.role=rescue that can be read, nothing in "+BundlesDir+".\n")
	case "retry":
		return decided, policy.Next, t.retry(ctx)
	case "continue":
		return decided, policy.Next, true
	case "reboot":
		return decided, policy.Reboot, true
	case "poweroff":
		return decided, policy.PowerOff, true
	case "halt":
		return decided, policy.Halt, true
	}
	return 0, 0, false
}

// retry runs the failed container again and tells whether it succeeded. Ctrl-C,
// or the end of the terminal, ends it.
func (t *talk) retry(ctx context.Context) bool {
	if t.session.Retry == nil {
		say(t.terminal, "No container has failed; continue runs the first.\n")
		return false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ok := make(chan bool, 1)
	go func() { ok <- t.session.Retry(ctx) }()
	lines := t.lines
	for {
		select {
		case success := <-ok:
			return success
		case in := <-lines:
			if in.err != nil && !errors.Is(in.err, errLong) {
				cancel(ErrInterrupted)
			}
			if in.err != nil && !errors.Is(in.err, errLong) && !errors.Is(in.err, errInterrupt) {
				lines = nil // There are no more.
				defer func() { t.lines = ended(in) }()
			}
		}
	}
}

// ended is a terminal that says once that it is at its end.
func ended(in input) chan input {
	c := make(chan input, 1)
	c <- in
	return c
}

func (t *talk) help() {
	var rows [][2]string
	for _, c := range commands {
		rows = append(rows, [2]string{c.verb + " " + c.args, c.does})
	}
	t.table(rows)
}

// table shows two columns.
func (t *talk) table(rows [][2]string) {
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		say(t.terminal, fmt.Sprintf("  %-*s  %s\n", width, row[0], row[1]))
	}
}

// list shows all onboot containers.
func (t *talk) list() {
	var rows [][2]string
	for _, r := range t.session.Results() {
		outcome := r.String()
		if r.Decision != "" {
			outcome += "; " + r.Decision
		}
		rows = append(rows, [2]string{r.Name, outcome})
	}
	for _, name := range t.session.Rest {
		rows = append(rows, [2]string{name, "to come"})
	}
	if len(rows) == 0 {
		rows = [][2]string{{"The image has no onboot containers.", ""}}
	}
	t.table(rows)
}

func (t *talk) log(o order) {
	r, ok := find(t.session.Results(), o.name)
	if !ok {
		say(t.terminal, "No onboot container "+quote(o.name)+" has run; list shows the names.\n")
		return
	}
	text := lastLines(string(r.Log()), o.lines)
	if text == "" {
		text = r.Name + " wrote nothing.\n"
	}
	say(t.terminal, text)
}

// find looks for a container by its name, with or without the number in front.
func find(results []oneshot.Result, name string) (oneshot.Result, bool) {
	for _, exact := range []bool{true, false} {
		for _, r := range results {
			_, short, _ := strings.Cut(r.Name, "-")
			if r.Name == name || !exact && short == name {
				return r, true
			}
		}
	}
	return oneshot.Result{}, false
}

func (t *talk) dmesg(o order) {
	if t.session.NoKernelLog {
		say(t.terminal, "The kernel log is the outer system's.\n")
		return
	}
	text, err := kernelLog()
	if err != nil {
		text = err.Error() + "\n"
	}
	say(t.terminal, lastLines(text, o.lines))
}
