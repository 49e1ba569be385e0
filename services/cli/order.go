package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"keelson/runtime/version"
	"keelson/services/control"
)

// order starts, stops or restarts services. It prints what was done only with -v.
func (a *App) order(verb string) Verb {
	var path string
	what := map[string][2]string{
		control.Start:   {"start services, and wait until they run", "What they require is started too. The names of bundles that were added to the folder\nof services after the boot can be given."},
		control.Stop:    {"stop services, and wait until they have ended", "Services that require them are stopped before."},
		control.Restart: {"stop services and start them again, and wait until they run", "A change of the bundle takes effect."},
	}[verb]
	v := Verb{
		Use: verb + " NAME…", Group: Steer, Short: what[0], Long: what[1], Min: 1, Max: -1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Example:  fmt.Sprintf("%s redis        # wait until that is done\n%s redis nginx  # two, in the order of their dependencies", verb, verb),
		linuxkit: true,
	}
	if a.Machine != nil {
		v.Flags = func(f *pflag.FlagSet) {
			f.String("sock", "", "`PATH` of containerd's socket; ignored: the supervisor knows it")
			f.StringVar(&path, "path", "", "`DIR` with the bundles, which must be that of this system's services")
		}
	}
	v.Run = func(ctx context.Context, names []string) (int, error) {
		for _, name := range names {
			if path == "" {
				break
			}
			if err := a.Machine.SameBundle(path, name); err != nil {
				return control.CodeFailed, fmt.Errorf("cannot %s %s: %w", verb, name, err)
			}
		}
		return a.act(ctx, control.Request{Verb: verb, Names: names})
	}
	return v
}

// act sends a request without a result.
func (a *App) act(ctx context.Context, request control.Request) (int, error) {
	r, err := a.Client.Call(ctx, request)
	if err != nil {
		return control.CodeFailed, a.explain(err)
	}
	if r.Error != "" {
		return a.failed(ctx, r, request.Names)
	}
	if a.verbose {
		fmt.Fprintf(a.Out, "%s %s: done\n", request.Verb, strings.Join(request.Names, " "))
	}
	return control.CodeOK, nil
}

// Power is the verb that shuts the machine down.
func (a *App) Power(verb string) Verb {
	return Verb{
		Use: verb, Group: Power, Short: powerHelp[verb],
		Example: verb + " # stop everything in order, then " + verb,
		Run: func(ctx context.Context, _ []string) (int, error) {
			return a.act(ctx, control.Request{Verb: verb})
		},
	}
}

// powerHelp describes the verbs that shut the machine down.
var powerHelp = map[string]string{
	control.PowerOff: "stop all services and power the machine off",
	control.Reboot:   "stop all services and reboot",
	control.Halt:     "stop all services and halt the machine",
}

func (a *App) version() Verb {
	return Verb{
		Use: "version", Group: Other, Short: "print the version of this program",
		Example: "version # as in the first line of a boot",
		Run: func(context.Context, []string) (int, error) {
			_, err := fmt.Fprintln(a.Out, version.Line(a.Name))
			return control.CodeOK, err
		},
	}
}
