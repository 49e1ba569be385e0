package cli

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"keelson/runtime/timeline"
)

// Styles of a terminal: parameters of SGR (ECMA-48).
const (
	noStyle = ""
	good    = "32" // green
	warn    = "33" // yellow
	bad     = "31" // red
)

// cell is a text of a table.
type cell struct{ text, style string }

func plain(text string) cell { return cell{text, noStyle} }

// table has rows of cells; the first one has the titles.
type table [][]cell

// titles returns the first row. A title that begins with > is that of a column of numbers.
func titles(names ...string) (row []cell) {
	for _, name := range names {
		row = append(row, plain(name))
	}
	return row
}

// row adds a row of strings and cells.
func (t *table) row(values ...any) {
	var row []cell
	for _, v := range values {
		c, ok := v.(cell)
		if !ok {
			c = plain(fmt.Sprint(v))
		}
		c.text = timeline.OneLine(c.text) // It may come from another program.
		row = append(row, c)
	}
	*t = append(*t, row)
}

// print prints a table in columns, in colour on a terminal.
func (a *App) print(t table) error {
	_, err := fmt.Fprint(a.Out, t.text(a.coloured()))
	return err
}

// text returns the table with two blanks between columns.
func (t table) text(coloured bool) string {
	var widths []int
	right := func(i int) bool { return i < len(t[0]) && strings.HasPrefix(t[0][i].text, ">") }
	for _, row := range t {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(strings.TrimPrefix(c.text, ">")))
		}
	}
	var b strings.Builder
	for at, row := range t {
		for i, c := range row {
			if at == 0 {
				c.text = strings.TrimPrefix(c.text, ">")
			}
			gap := strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(c.text), 0))
			if right(i) {
				b.WriteString(gap)
				gap = ""
			}
			b.WriteString(paint(c, coloured))
			if i < len(row)-1 {
				b.WriteString(gap + "  ")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func paint(c cell, coloured bool) string {
	if !coloured || c.style == noStyle {
		return c.text
	}
	return "\x1b[" + c.style + "m" + c.text + "\x1b[0m"
}

// coloured reports whether the output may have colours: on a terminal, unless NO_COLOR is set
// (https://no-color.org) or TERM is dumb.
func (a *App) coloured() bool {
	f, ok := a.Out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// stateStyle returns the style of a state of a service.
func stateStyle(state string) string {
	switch state {
	case "running":
		return good
	case "failed", "failing", "backoff":
		return bad
	case "stopped", "exited":
		return noStyle
	}
	return warn
}
