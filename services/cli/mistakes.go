package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keelson/services/control"
)

// usage returns the failure of a command line that is wrong.
func (a *App) usage(verb string, err error) error {
	if err == nil {
		return nil
	}
	return a.mistake(fmt.Errorf("%s: %w", verb, err), "help "+verb)
}

// mistake is the failure of a command line that is wrong. It says which command shows more.
func (a *App) mistake(err error, more string) error {
	end := "; see"
	if strings.HasSuffix(err.Error(), "?") {
		end = " See"
	}
	return &failure{control.CodeUsage, fmt.Errorf("%w%s '%s %s'", err, end, a.Name, more)}
}

// checkVerb refuses a verb that does not exist.
func (a *App) checkVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return a.unknownVerb(root, args[0])
}

func (a *App) unknownVerb(root *cobra.Command, name string) error {
	return a.mistake(fmt.Errorf("unknown command %q%s", name, suggestion(name, commandNames(root))), "help")
}

func commandNames(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

// flagError describes a mistake in options.
func (a *App) flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		given, long := "--"+unknown.GetSpecifiedName(), unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			given, long = "-"+short, short
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		err = fmt.Errorf("unknown option %s%s", given, suggestion("--"+long, names))
	case errors.As(err, &missing):
		err = fmt.Errorf("option --%s needs a value: %s", missing.GetFlag().Name, missing.GetFlag().Usage)
	case errors.As(err, &invalid):
		kinds := map[string]string{"int": "a number", "duration": "a duration such as 30s", "bool": "true or false"}
		kind := kinds[invalid.GetFlag().Value.Type()]
		if kind == "" {
			kind = invalid.GetFlag().Usage
		}
		err = fmt.Errorf("option --%s wants %s, not %q", invalid.GetFlag().Name, kind, invalid.GetValue())
	}
	if cmd.HasParent() {
		return a.usage(cmd.Name(), err)
	}
	return a.mistake(err, "help")
}

// suggestion returns what may have been meant, for the end of a message, or nothing.
func suggestion(given string, names []string) string {
	if name := nearest(given, names); name != "" {
		return fmt.Sprintf(": did you mean %s?", name)
	}
	return ""
}

// unknown returns the error of a value that is none of those that exist.
func unknown(what, given string, all []string) error {
	last := len(all) - 1
	want := "want " + strings.Join(all[:last], ", ") + " or " + all[last]
	if s := suggestion(given, all); s != "" {
		return fmt.Errorf("unknown %s %q%s W%s", what, given, s, want[1:])
	}
	return fmt.Errorf("unknown %s %q: %s", what, given, want)
}

// nearest returns the name that differs least from what is given, if that is little: one change
// in three letters, or only the end is missing.
func nearest(given string, names []string) string {
	best, least := "", max(1, utf8.RuneCountInString(strings.TrimLeft(given, "-"))/3)+1
	for _, name := range names {
		d := distance(given, name)
		if len(given) > 1 && strings.HasPrefix(name, given) {
			d = min(d, 1)
		}
		if d < least && d < utf8.RuneCountInString(name) {
			best, least = name, d
		}
	}
	return best
}

// distance returns the Damerau-Levenshtein distance of two names (optimal string alignment): how
// many letters are to be changed, added, removed, or exchanged with the next one.
func distance(from, to string) int {
	const limit = 64 // No name is longer.
	a, b := []rune(strings.ToLower(from)), []rune(strings.ToLower(to))
	if len(a) > limit || len(b) > limit {
		return max(len(a), len(b))
	}
	var table [limit + 1][limit + 1]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				table[i][j] = i + j
				continue
			}
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(table[i-1][j]+1, table[i][j-1]+1, table[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, table[i-2][j-2]+1)
			}
			table[i][j] = d
		}
	}
	return table[len(a)][len(b)]
}

// failed returns the result of a request that was not carried out, with the names that may have
// been meant.
func (a *App) failed(ctx context.Context, r control.Response, names []string) (int, error) {
	text := r.Error
	if r.Code == control.CodeNotFound {
		text += a.meant(ctx, names)
	}
	return max(r.Code, control.CodeFailed), errors.New(text)
}

// meant suggests names of services.
func (a *App) meant(ctx context.Context, names []string) string {
	known := a.serviceNames(ctx)
	for _, name := range names {
		if s := suggestion(name, known); s != "" && nearest(name, known) != name {
			return s + fmt.Sprintf(" '%s list' shows all", a.Name)
		}
	}
	return fmt.Sprintf("; '%s list' shows all", a.Name)
}

// namesTime is how long the names of services may take, when they only help. A machine may be slow;
// people can interrupt it.
const namesTime = 30 * time.Second

// serviceNames returns the names of all services, as far as they can be found out soon.
func (a *App) serviceNames(ctx context.Context) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	r, err := a.Client.Call(ctx, control.Request{Verb: control.List})
	if err != nil {
		return nil
	}
	for _, s := range r.Services {
		names = append(names, s.Name)
	}
	return names
}

// explain adds what to do when there is no control socket.
func (a *App) explain(err error) error {
	if a.Machine != nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; is the supervisor running? A container needs a bind mount of /run", err)
	}
	return err
}

// getError returns the result of a verb that could not read something of a service.
func (a *App) getError(ctx context.Context, err error, names []string) (int, error) {
	switch {
	case err == nil:
		return control.CodeOK, nil
	case errors.Is(err, control.ErrNotFound):
		return a.failed(ctx, control.Response{Code: control.CodeNotFound, Error: err.Error()}, names)
	}
	return control.CodeFailed, a.explain(err)
}
