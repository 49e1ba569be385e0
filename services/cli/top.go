package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"keelson/services/control"
)

// Size of a terminal that does not know its own, such as a serial console.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// screen is a table that is shown again and again.
type screen struct {
	names []string
	order string
	quiet bool // no keys
	every time.Duration
}

// top is the verb that shows a live table.
func (a *App) top() Verb {
	v := screen{every: time.Second}
	return Verb{
		Use: "top", Group: Look, Short: "show what services use, live, the largest first",
		Long: "Keys: " + keysText() + ".\nThe screen follows the size of the terminal; a serial console, which does not know its size, counts as\n80 by 24. Without a terminal, the table is printed once.",
		Example: "top                # by processor time\n" +
			"top --sort memory  # by memory\ntop -d 5s          # each five seconds",
		Flags: func(f *pflag.FlagSet) {
			f.StringVarP(&v.order, "sort", "s", byCPU, "sort by `COLUMN`: "+strings.Join(usageOrders, ", "))
			f.DurationVarP(&v.every, "delay", "d", time.Second, "show it again each `TIME`, at least 100ms")
		},
		check: func([]string) error {
			if !slices.Contains(usageOrders, v.order) {
				return unknown("order", v.order, usageOrders)
			}
			if v.every < 100*time.Millisecond {
				return fmt.Errorf("--delay %v is less than 100ms", v.every)
			}
			return nil
		},
		Run: func(ctx context.Context, _ []string) (int, error) {
			s, code, err := a.take(ctx, nil)
			if err != nil {
				return code, err
			}
			if a.terminal() {
				return a.live(ctx, &v, s)
			}
			before := s
			if err := pause(ctx, min(v.every, statsTime)); err != nil {
				return control.CodeFailed, err
			}
			if s, code, err = a.take(ctx, nil); err != nil {
				return code, err
			}
			return control.CodeOK, a.print(usageTable(s, before, v.order))
		},
	}
}

// terminal reports whether the output is a terminal that can be written over.
func (a *App) terminal() bool {
	f, ok := a.Out.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// size returns the size of the terminal.
func (a *App) size() (width, height int) {
	if f, ok := a.Out.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return defaultWidth, defaultHeight
}

// Control sequences (ECMA-48, and the alternate screen of xterm).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

// live shows a table until a key or a signal ends it.
func (a *App) live(ctx context.Context, v *screen, first sample) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, restore := a.keys(ctx)
	defer restore()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	if v.every == 0 {
		v.every = statsTime
	}
	tick := time.NewTicker(v.every)
	defer tick.Stop()
	if _, err := io.WriteString(a.Out, enterScreen); err != nil {
		return control.CodeFailed, err
	}
	defer io.WriteString(a.Out, leaveScreen) //nolint:errcheck // The terminal may be gone.
	before, now, problem := sample{}, first, ""
	for {
		width, height := a.size()
		if _, err := io.WriteString(a.Out, v.frame(now, before, problem, width, height, a.coloured())); err != nil {
			return control.CodeFailed, err
		}
		select {
		case <-ctx.Done():
			return control.CodeOK, nil
		case key := <-keys:
			if key == 'q' || key == 3 || key == 4 { // ctrl-C and ctrl-D in raw mode
				return control.CodeOK, nil
			}
			if order, ok := orderKeys[key]; ok && !v.quiet {
				v.order = order
			}
		case <-resized:
		case <-tick.C:
			next, _, err := a.take(ctx, v.names)
			if problem = ""; err != nil {
				problem = err.Error() // The supervisor may come back.
				break
			}
			before, now = now, next
		}
	}
}

// memoryText describes the memory of the machine, for the middle of a line.
func memoryText(m *control.Memory) string {
	if m == nil {
		return ""
	}
	total, used := float64(m.Total), float64(m.Total-m.Available)
	return fmt.Sprintf("memory %s of %s used, ", bytesText(&used), bytesText(&total))
}

// frame returns what is written for one state: as many lines and columns as the terminal has.
func (v *screen) frame(now, before sample, problem string, width, height int, coloured bool) string {
	running := 0
	for _, s := range now.services {
		if s.State == control.Running {
			running++
		}
	}
	head := []string{fmt.Sprintf("%d of %d services run, %d processors, %sup %v", running, len(now.services), now.usages.CPUs,
		memoryText(now.usages.Memory), now.usages.At.Round(time.Second))}
	if !v.quiet {
		head = append(head, fmt.Sprintf("by %s; %s", v.order, keysText()))
	}
	if problem != "" {
		head[len(head)-1] = problem
	}
	lines := append(head, "")
	lines = append(lines, strings.Split(strings.TrimSuffix(usageTable(now, before, v.order).text(coloured), "\n"), "\n")...)
	if len(lines) > height {
		left := len(lines) - height + 1
		lines = append(lines[:max(height-1, 0)], fmt.Sprintf("… %d more", left))
	}
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(fit(line, width) + clearLine)
	}
	b.WriteString(clearRest)
	return b.String()
}

// fit cuts a line to a width. Sequences of styles take no room, and are kept.
func fit(line string, width int) string {
	var b strings.Builder
	for room := width; line != ""; {
		if strings.HasPrefix(line, "\x1b[") {
			if end := strings.IndexByte(line, 'm'); end >= 0 {
				b.WriteString(line[:end+1])
				line = line[end+1:]
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(line)
		if room > 0 {
			b.WriteRune(r)
		}
		room--
		line = line[n:]
	}
	return b.String()
}

// keys reads keys from a terminal in raw mode, until ctx ends. restore sets its mode back.
func (a *App) keys(ctx context.Context) (keys <-chan byte, restore func()) {
	in, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, func() {}
	}
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, func() {}
	}
	read := make(chan byte)
	go func() { // It ends with the process, if no key comes.
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); n == 0 || err != nil {
				return
			}
			select {
			case read <- b[0]:
			case <-ctx.Done():
				return
			}
		}
	}()
	return read, func() { _ = term.Restore(int(in.Fd()), old) }
}
