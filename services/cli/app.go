package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

// App is a command line for one system.
type App struct {
	Name    string          // of the program, for messages: service
	Client  *control.Client // of the system's supervisor
	Machine *Machine        // nil: the command line runs elsewhere
	In      io.Reader
	Out     io.Writer
	Err     io.Writer

	verbose bool // LinuxKit's -v
	quiet   bool // LinuxKit's -q
	parse   bool // of tests: verbs are not run
}

// Machine is what a command line can do only on the machine itself.
type Machine struct {
	// SameBundle returns an error if a folder has another bundle of a name than the supervisor's.
	SameBundle func(dir, name string) error
	// Programs returns the state of keelson's own programs, and TrialEnded waits until none are on trial, also
	// while the supervisor does not run.
	Programs   func(ctx context.Context) (control.ProgramsState, error)
	TrialEnded func(ctx context.Context) error
	// Timeline returns the events of the boot, also while the supervisor does not run.
	Timeline func() ([]timeline.Event, error)
	// Verbs are further verbs. Those with names of others take their place.
	Verbs []Verb
}

// Run runs a command line without the name of the program. It prints errors to Err, and returns
// the exit status.
func (a *App) Run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(doubleDashes(root, args))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return control.CodeOK
	}
	result := &failure{code: control.CodeUsage, err: err}
	errors.As(err, &result)
	if result.err != nil {
		fmt.Fprintf(a.Err, "%s: %v\n", a.Name, result.err)
	}
	return result.code
}

// failure is the end of a verb with another exit status than 0. err may be nil.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// root returns the tree of commands.
func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:               a.Name,
		Short:             "see and steer the services of a keelson system",
		Args:              a.checkVerb,
		SilenceErrors:     true,
		SilenceUsage:      true,
		TraverseChildren:  true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: a.Name},
		PersistentPreRunE: a.checkOptions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.run(cmd, a.list(), nil) },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetHelpFunc(a.showHelp)
	root.SetFlagErrorFunc(a.flagError)
	help := a.help().command(a)
	root.SetHelpCommand(help)
	root.AddCommand(help)
	if a.Machine != nil {
		linuxkitOptions(root.Flags(), a)
	}
	root.Flags().BoolP("help", "h", false, "show this")
	for _, group := range groups {
		root.AddGroup(&cobra.Group{ID: group, Title: group})
	}
	for _, v := range a.verbs() {
		root.AddCommand(v.command(a))
	}
	return root
}

// verbs returns all verbs.
func (a *App) verbs() []Verb {
	all := []Verb{a.list(), a.status(), a.stats(), a.top(), a.inspect(), a.graph(), a.boot(), a.onboot(), a.blame(), a.chart(), a.events(), a.logs(), a.security(), a.net(),
		a.order(control.Start), a.order(control.Stop), a.order(control.Restart), a.kill(), a.exec(), a.shell(), a.debug(), a.rescue(),
		a.swap(), a.rollback(), a.remove(), a.diff(),
		a.Power(control.PowerOff), a.Power(control.Reboot), a.Power(control.Halt), a.version()}
	if a.Machine == nil {
		return all
	}
	all = append(all, a.completion())
	for _, v := range a.Machine.Verbs {
		all = replace(all, v)
	}
	return all
}

// replace puts a verb in the place of the one with its name, or at the end.
func replace(all []Verb, v Verb) []Verb {
	for i := range all {
		if all[i].name() == v.name() {
			all[i] = v
			return all
		}
	}
	return append(all, v)
}
