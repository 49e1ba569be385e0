package rescue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"keelson/init/policy"
	"keelson/runtime/bundle"
	"keelson/runtime/oneshot"
)

const promptText = "rescue> "

// prompt is a prompt on a terminal, until an end of file.
type prompt struct {
	session  *Session
	terminal *os.File
	lines    chan input
	gotInput bool // a line was typed
}

// run reads and executes commands until one of them ends the prompt.
func (p *prompt) run(ctx context.Context) (answer, policy.Action) {
	// Reads and writes end when ctx ends.
	defer context.AfterFunc(ctx, func() { p.terminal.Close() })()
	p.lines = make(chan input)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		readLines(p.terminal, p.lines, stop)
	}()
	defer func() {
		close(stop)
		resetTerminal(p.terminal, nil) // for the program that uses it next
		p.terminal.Close()
		<-ended
	}()
	write(p.terminal, "\nType help for a list of commands.\n")
	for {
		p.session.flush(ctx)
		write(p.terminal, promptText)
		select {
		case <-ctx.Done():
			return decided, policy.Wait
		case in := <-p.lines:
			if how, action, done := p.handle(ctx, in); done {
				return how, action
			}
		}
	}
}

// handle handles one input; done reports whether the prompt has ended.
func (p *prompt) handle(ctx context.Context, in input) (how answer, action policy.Action, done bool) {
	switch {
	case in.err == nil:
		p.gotInput = true
	case errors.Is(in.err, errInterrupt):
		write(p.terminal, "\n")
		return 0, 0, false
	case errors.Is(in.err, errLong):
		write(p.terminal, in.err.Error()+"\n")
		return 0, 0, false
	default:
		write(p.terminal, "\nTo leave the prompt, type retry, continue, reboot, poweroff or halt.\n")
		return closed, 0, true
	}
	inv, err := parse(in.line)
	if err != nil {
		write(p.terminal, err.Error()+"\n")
		return 0, 0, false
	}
	return p.execute(ctx, inv)
}

func (p *prompt) execute(ctx context.Context, inv invocation) (how answer, action policy.Action, done bool) {
	switch inv.verb {
	case "help":
		p.help()
	case "list":
		p.list()
	case "log":
		p.log(inv)
	case "dmesg":
		p.dmesg(inv)
	case "shell":
		if p.session.Shell != nil {
			return runShell, 0, true
		}
		write(p.terminal, "The image has no shell for rescue: no service with keelson.role=rescue that can be read, nothing in "+bundle.RescueDir+".\n")
	case "retry":
		return decided, policy.Next, p.retry(ctx)
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

// retry runs the failed container again and reports whether it succeeded. Ctrl-C or an
// end of file cancels it.
func (p *prompt) retry(ctx context.Context) bool {
	if p.session.Retry == nil {
		write(p.terminal, "No container has failed; continue runs the first.\n")
		return false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ok := make(chan bool, 1)
	go func() { ok <- p.session.Retry(ctx) }()
	lines := p.lines
	for {
		select {
		case success := <-ok:
			return success
		case in := <-lines:
			if in.err != nil && !errors.Is(in.err, errLong) {
				cancel(ErrInterrupted)
			}
			if in.err != nil && !errors.Is(in.err, errLong) && !errors.Is(in.err, errInterrupt) {
				lines = nil // The reader has ended.
				defer func() { p.lines = replay(in) }()
			}
		}
	}
}

// replay returns a channel that delivers in once, to the code that reads next.
func replay(in input) chan input {
	c := make(chan input, 1)
	c <- in
	return c
}

func (p *prompt) help() {
	var rows [][2]string
	for _, c := range commands {
		rows = append(rows, [2]string{c.verb + " " + c.args, c.does})
	}
	p.table(rows)
}

// table prints two columns.
func (p *prompt) table(rows [][2]string) {
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		write(p.terminal, fmt.Sprintf("  %-*s  %s\n", width, row[0], row[1]))
	}
}

// list prints all onboot containers.
func (p *prompt) list() {
	var rows [][2]string
	for _, r := range p.session.Results() {
		outcome := r.String()
		if r.Decision != "" {
			outcome += "; " + r.Decision
		}
		rows = append(rows, [2]string{r.Name, outcome})
	}
	for _, name := range p.session.Rest {
		rows = append(rows, [2]string{name, "to come"})
	}
	if len(rows) == 0 {
		rows = [][2]string{{"The image has no onboot containers.", ""}}
	}
	p.table(rows)
}

func (p *prompt) log(inv invocation) {
	r, ok := find(p.session.Results(), inv.name)
	if !ok {
		write(p.terminal, "No onboot container "+quote(inv.name)+" has run; list shows the names.\n")
		return
	}
	text := lastLines(string(r.Log()), inv.lines)
	if text == "" {
		text = r.Name + " wrote nothing.\n"
	}
	write(p.terminal, text)
}

// find looks for a container by its name, with or without the leading number.
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

func (p *prompt) dmesg(inv invocation) {
	if p.session.NoKernelLog {
		write(p.terminal, "The kernel log is the outer system's.\n")
		return
	}
	text, err := kernelLog()
	if err != nil {
		text = err.Error() + "\n"
	}
	write(p.terminal, lastLines(text, inv.lines))
}
