package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keelson/services/control"
)

// shells for which there are completion scripts.
var shells = []string{"bash", "zsh", "fish"}

// completion is the verb that prints a script for a shell.
func (a *App) completion() Verb {
	return Verb{
		Use: "completion SHELL", Group: Other, Short: "print a completion script for bash, zsh or fish", Min: 1, Max: 1, Names: OtherNames,
		Long: "The script asks this program for what can follow, so that names of services are those of the\n" +
			"running system. The script for bash needs the package bash-completion.",
		Example: "completion bash   # for ~/.bashrc: source <(service completion bash)\n" +
			"completion zsh    # a file _service in a folder of fpath\n" +
			"completion fish   # ~/.config/fish/completions/service.fish",
		check: func(args []string) error {
			if !slices.Contains(shells, args[0]) {
				return unknown("shell", args[0], shells)
			}
			return nil
		},
		Run: func(_ context.Context, args []string) (int, error) {
			root, write := a.root(), map[string]func(*cobra.Command) error{
				"bash": func(c *cobra.Command) error { return c.GenBashCompletionV2(a.Out, true) },
				"zsh":  func(c *cobra.Command) error { return c.GenZshCompletion(a.Out) },
				"fish": func(c *cobra.Command) error { return c.GenFishCompletion(a.Out, true) },
			}
			return control.CodeOK, write[args[0]](root)
		},
	}
}

// complete returns what can follow the arguments of a verb.
func (a *App) complete(v Verb) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		var names []string
		switch {
		case v.Max >= 0 && len(args) >= v.Max:
		case v.name() == "completion":
			names = shells
		case v.name() == "help":
			names = commandNames(cmd.Root())
		case v.Names == ServiceFile && len(args) > 0:
			return nil, cobra.ShellCompDirectiveDefault
		case v.Names == ServiceNames, v.Names == ServiceFile:
			names = a.serviceNames(cmd.Context())
		}
		var fit []string
		for _, name := range names {
			if strings.HasPrefix(name, begin) && !slices.Contains(args, name) {
				fit = append(fit, name)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}
