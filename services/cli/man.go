package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manSection is that of commands for administrators (man-pages(7)).
const manSection = 8

// ManPages returns the manual pages of the program and of its verbs, in the macros of man(7), by
// the names of their files. It is for the build: no program of the guest calls it.
func (a *App) ManPages(date time.Time, version string) map[string]string {
	root := a.root()
	pages := map[string]string{}
	add := func(name, text string) {
		head := fmt.Sprintf(".TH %s %d %s %s\n", strings.ToUpper(Roff(name)), manSection, date.UTC().Format(time.DateOnly), RoffQuoted("keelson "+version))
		pages[fmt.Sprintf("%s.%d", name, manSection)] = head + text
	}
	program := strings.ReplaceAll(a.Name, " ", "-")
	add(program, a.manOverview(root, program))
	for _, c := range root.Commands() {
		if !c.Hidden {
			add(program+"-"+c.Name(), a.manPage(c, program))
		}
	}
	return pages
}

func (a *App) manPage(c *cobra.Command, program string) string {
	var b strings.Builder
	name := program + "-" + c.Name()
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n%s\n", Roff(name), Roff(c.Short), Roff(a.Name+" "+c.Name()), Roff(arguments(c)))
	if c.Long != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", manLines(c.Long))
	}
	b.WriteString(".SH OPTIONS\n" + manOptions(c.Flags()))
	fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", manLines(c.Example))
	b.WriteString(".SH EXIT STATUS\n" + manList(c.Annotations[codesKey], "  "))
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (%d)\n", Roff(program), manSection)
	return b.String()
}

func (a *App) manOverview(root *cobra.Command, program string) string {
	var b, all strings.Builder
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n[OPTION…] [COMMAND]\n.SH COMMANDS\n", Roff(program), Roff(root.Short), Roff(a.Name))
	for _, group := range groups {
		fmt.Fprintf(&b, ".SS %s\n", RoffQuoted(group))
		for _, c := range root.Commands() {
			if c.GroupID == group && !c.Hidden {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", Roff(c.Name()), Roff(c.Short))
				fmt.Fprintf(&all, ".BR %s (%d),\n", Roff(program+"-"+c.Name()), manSection)
			}
		}
	}
	b.WriteString(".SH OPTIONS\n" + manOptions(root.Flags()))
	var codes []int
	for _, v := range a.verbs() {
		codes = append(codes, v.Codes...)
	}
	slices.Sort(codes)
	b.WriteString(".SH EXIT STATUS\n" + manList(Verb{Codes: slices.Compact(codes)}.codes(), "  "))
	b.WriteString(".SH SEE ALSO\n" + strings.TrimSuffix(all.String(), ",\n") + "\n")
	return b.String()
}

// arguments returns the synopsis of a command after its name.
func arguments(c *cobra.Command) string {
	_, rest, _ := strings.Cut(synopsis(c), " ")
	return rest
}

func manOptions(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + value
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", Roff(name), Roff(usage))
	})
	return b.String()
}

// manList returns the list of lines "TERM BREAK DESCRIPTION".
func manList(text, between string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		term, what, _ := strings.Cut(strings.TrimSpace(line), between)
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", Roff(term), Roff(strings.TrimSpace(what)))
	}
	return b.String()
}

// manLines escapes each line of a text.
func manLines(text string) string {
	var escaped []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		escaped = append(escaped, Roff(strings.TrimRight(line, "\n")))
	}
	return strings.Join(escaped, "\n")
}

// RoffQuoted returns an argument of a macro.
func RoffQuoted(text string) string { return `"` + strings.ReplaceAll(Roff(text), `"`, `\(dq`) + `"` }

// Roff escapes a line for roff(7): a backslash, a minus, and a control character at its begin.
func Roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}
