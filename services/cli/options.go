package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// linuxkitKey marks commands that LinuxKit's service has too.
const linuxkitKey = "linuxkit"

// linuxkitOptions are the options of LinuxKit's service before the verb.
func linuxkitOptions(flags *pflag.FlagSet, a *App) {
	flags.SortFlags = false
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "print what was done")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "do not (the default)")
	flags.String("containerd-namespace", "", "`NAME` of a namespace; ignored: runtime.json has that of a service")
}

// checkOptions refuses options before verbs that do not take them.
func (a *App) checkOptions(cmd *cobra.Command, _ []string) error {
	root := cmd.Root()
	var err error
	root.Flags().Visit(func(f *pflag.Flag) {
		if _, ok := cmd.Annotations[linuxkitKey]; !ok && f.Name != "help" {
			err = fmt.Errorf("option --%s before the command is only for start, stop and restart", f.Name)
		}
	})
	if a.quiet && a.verbose {
		err = errors.New("-q and -v exclude each other")
	}
	name := cmd.Name()
	if cmd == root {
		name = a.list().name()
	}
	return a.usage(name, err)
}

// doubleDashes returns a command line in which options with names of more than one letter begin
// with two dashes. LinuxKit's service takes them with one (-sock PATH). Options between the first
// argument of exec and debug and the program, and --, are put in front.
func doubleDashes(root *cobra.Command, args []string) []string {
	known := root
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			kind, ok := known.Annotations[rest]
			if ok && kind != restNamed {
				return append(out, args[i:]...)
			}
			if ok {
				late, program := lateOptions(known.Flags(), args[i+1:])
				return slices.Concat(out, late, []string{arg}, program)
			}
			out = append(out, arg)
			if c := child(root, arg); c != nil && known == root {
				known = c
			}
			continue
		}
		arg = doubleDash(known.Flags(), arg)
		out = append(out, arg)
		if takesNext(known.Flags(), arg) && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

// doubleDash returns an option with two dashes, if its name has more than one letter.
func doubleDash(flags *pflag.FlagSet, arg string) string {
	if name, _, _ := strings.Cut(arg[1:], "="); len(name) > 1 && flags.Lookup(name) != nil {
		return "-" + arg
	}
	return arg
}

// lateOptions divides arguments into the options at their begin, and the rest.
func lateOptions(flags *pflag.FlagSet, args []string) (options, others []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return options, args[i+1:]
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			return options, args[i:]
		}
		arg = doubleDash(flags, arg)
		options = append(options, arg)
		if takesNext(flags, arg) && i+1 < len(args) {
			i++
			options = append(options, args[i])
		}
	}
	return options, nil
}

func child(root *cobra.Command, name string) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// takesNext reports whether the value of an option is the next argument.
func takesNext(flags *pflag.FlagSet, arg string) bool {
	if strings.Contains(arg, "=") {
		return false
	}
	if name, ok := strings.CutPrefix(arg, "--"); ok {
		f := flags.Lookup(name)
		return f != nil && f.NoOptDefVal == ""
	}
	for i := range len(arg) - 1 { // -fn 3
		if arg[i+1] >= utf8.RuneSelf {
			return false // pflag panics for others than ASCII.
		}
		f := flags.ShorthandLookup(arg[i+1 : i+2])
		if f == nil {
			return false
		}
		if f.NoOptDefVal == "" {
			return i == len(arg)-2
		}
	}
	return false
}
