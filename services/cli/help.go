package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keelson/services/control"
)

// help is the verb that shows the help of others.
func (a *App) help() Verb {
	return Verb{
		Use: "help [COMMAND]", Group: Other, Short: "show this overview, or what a command does", Max: 1, Names: OtherNames,
		Example: "help        # list the commands\nhelp logs   # options, examples and exit statuses of logs",
		Run: func(_ context.Context, args []string) (int, error) {
			root := a.root()
			if len(args) == 0 {
				a.showHelp(root, nil)
				return control.CodeOK, nil
			}
			c := child(root, args[0])
			if c == nil {
				return control.CodeUsage, a.unknownVerb(root, args[0])
			}
			a.showHelp(c, nil)
			return control.CodeOK, nil
		},
	}
}

// showHelp prints the help of a command, or the overview.
func (a *App) showHelp(c *cobra.Command, _ []string) {
	if !c.HasParent() {
		a.overview(c)
		return
	}
	out := a.Out
	fmt.Fprintf(out, "%s %s: %s\n", a.Name, c.Name(), c.Short)
	section(out, "Usage", a.Name+" "+synopsis(c))
	if c.Long != "" {
		fmt.Fprintf(out, "\n%s\n", strings.TrimSpace(c.Long))
	}
	section(out, "Options", optionText(c.Flags()))
	section(out, "Examples", c.Example)
	section(out, "Exit status", c.Annotations[codesKey])
}

// section prints a part of the help, if it is not empty.
func section(out io.Writer, title, text string) {
	if text = strings.TrimRight(text, "\n"); text != "" {
		fmt.Fprintf(out, "\n%s:\n  %s\n", title, strings.ReplaceAll(text, "\n", "\n  "))
	}
}

// synopsis returns how a command is used: its name, options and arguments.
func synopsis(c *cobra.Command) string {
	name, arguments, _ := strings.Cut(c.Use, " ")
	if c.Flags().HasAvailableFlags() {
		name += " [OPTION…]"
	}
	return strings.TrimSpace(name + " " + arguments)
}

// optionText describes options, one in a line.
func optionText(flags *pflag.FlagSet) string {
	return strings.TrimRight(unindent(flags.FlagUsages()), "\n")
}

func unindent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimPrefix(line, "  "))
	}
	return b.String()
}

// overview lists all commands.
func (a *App) overview(root *cobra.Command) {
	fmt.Fprintf(a.Out, "%s: %s\n", a.Name, root.Short)
	usage := a.Name + " [COMMAND]"
	if a.Machine != nil {
		usage += fmt.Sprintf("\n%s [-v | -q] [--containerd-namespace NS] start|stop|restart [-sock PATH] [-path DIR] NAME…", a.Name)
	}
	section(a.Out, "Usage", usage)
	width := 0
	for _, c := range root.Commands() {
		width = max(width, len(c.Name()))
	}
	for _, group := range groups {
		var lines []string
		for _, c := range root.Commands() {
			if c.GroupID == group && !c.Hidden {
				lines = append(lines, fmt.Sprintf("%-*s  %s", width, c.Name(), c.Short))
			}
		}
		section(a.Out, group, strings.Join(lines, "\n"))
	}
	if a.Machine != nil {
		section(a.Out, "Options of LinuxKit's service, for start, stop and restart", optionText(root.Flags()))
	}
	fmt.Fprintf(a.Out, "\nWithout a command, the services are listed. '%s help COMMAND' shows options, examples and exit statuses.\n", a.Name)
}
