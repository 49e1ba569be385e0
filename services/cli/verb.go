package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keelson/services/control"
)

// Groups of verbs in the overview, in its order.
const (
	Look   = "See"
	Steer  = "Steer"
	Change = "Replace"
	Power  = "The machine"
	Other  = "Help"
)

var groups = []string{Look, Steer, Change, Power, Other}

// Names says what the arguments of a verb are, for completion.
type Names int

// Kinds of arguments.
const (
	NoNames      Names = iota
	ServiceNames       // each is a service
	ServiceFile        // a service, then a file
	OtherNames         // of something else
)

// Verb is a command of the command line.
type Verb struct {
	Use     string // its name and arguments: status NAME…
	Group   string
	Short   string // what it does, in less than a line
	Long    string // what else to know of it
	Example string // lines of command lines without the name of the program, each with " # what it does"
	Min     int    // how many arguments it takes
	Max     int    // negative: any number
	Names   Names
	Codes   []int // exit statuses besides 0, 1 and 2
	Rest    bool  // what follows the first argument is for another program: no options
	Flags   func(*pflag.FlagSet)
	// Run runs the verb. It returns the exit status.
	Run func(ctx context.Context, args []string) (int, error)

	linuxkit bool                 // LinuxKit's service has it too: it takes the options before the verb
	check    func([]string) error // refuses arguments that exclude each other; nil: none do
}

// rest marks commands whose arguments after the first one are no options. The value is restNamed if
// the first one is a name, and a program follows it.
const (
	rest      = "rest"
	restNamed = "named"
)

// codes has the exit statuses of a command, for help.
const codesKey = "codes"

func (v Verb) name() string {
	name, _, _ := strings.Cut(v.Use, " ")
	return name
}

// command returns the command of cobra for a verb.
func (v Verb) command(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:                   v.Use,
		GroupID:               v.Group,
		Short:                 v.Short,
		Long:                  v.Long,
		Example:               v.examples(a.Name),
		DisableFlagsInUseLine: true,
		Annotations:           map[string]string{codesKey: v.codes()},
		Args:                  func(_ *cobra.Command, args []string) error { return a.usage(v.name(), v.count(args)) },
		RunE:                  func(cmd *cobra.Command, args []string) error { return a.run(cmd, v, args) },
		ValidArgsFunction:     a.complete(v),
	}
	if v.Flags != nil {
		v.Flags(c.Flags())
	}
	c.Flags().SortFlags = false
	c.Flags().BoolP("help", "h", false, "show this")
	if v.Rest {
		c.Annotations[rest] = ""
		if v.Min > 0 {
			c.Annotations[rest] = restNamed
		}
		c.Flags().SetInterspersed(false)
	}
	if v.linuxkit {
		c.Annotations[linuxkitKey] = ""
	}
	return c
}

// run runs a verb.
func (a *App) run(cmd *cobra.Command, v Verb, args []string) error {
	if v.check != nil {
		if err := v.check(args); err != nil {
			return a.usage(v.name(), err)
		}
	}
	if a.parse {
		return nil
	}
	if code, err := v.Run(cmd.Context(), args); code != control.CodeOK || err != nil {
		return &failure{max(code, control.CodeFailed), err}
	}
	return nil
}

// count returns an error if there are too few or too many arguments.
func (v Verb) count(args []string) error {
	switch n := len(args); {
	case v.Max == 0 && n > 0:
		return fmt.Errorf("unexpected argument %q", args[0])
	case n < v.Min && n == 0 && v.Names == ServiceNames:
		return fmt.Errorf("no service is named")
	case n < v.Min:
		return fmt.Errorf("an argument is missing: want %s", v.Use)
	case v.Max > 0 && n > v.Max:
		return fmt.Errorf("%d arguments are given, want %s", n, v.Use)
	}
	return nil
}

// examples returns the examples as a person types them.
func (v Verb) examples(program string) string {
	var lines [][2]string
	width := 0
	for line := range strings.Lines(v.Example) {
		example, what, _ := strings.Cut(strings.TrimSpace(line), " # ")
		if example == "" {
			continue
		}
		example = program + " " + strings.TrimSpace(example)
		width = max(width, len(example))
		lines = append(lines, [2]string{example, what})
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%-*s  # %s\n", width, l[0], l[1])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// meanings of exit statuses.
var meanings = map[int]string{
	control.CodeOK:         "done",
	control.CodeFailed:     "failed; the message says why",
	control.CodeUsage:      "the command line is wrong; nothing was done",
	control.CodeNotRunning: "a service does not run",
	control.CodeNotFound:   "there is none of that name",
}

func (v Verb) codes() string {
	var b strings.Builder
	for _, code := range slices.Concat([]int{control.CodeOK, control.CodeFailed, control.CodeUsage}, v.Codes) {
		fmt.Fprintf(&b, "%d  %s\n", code, meanings[code])
	}
	return strings.TrimSuffix(b.String(), "\n")
}
