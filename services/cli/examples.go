package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kballard/go-shellquote"

	"keelson/services/control"
)

// CheckExamples parses the examples of all verbs, without running them. It returns an error for
// each that cannot be parsed or does not say what it does, and for each verb without one.
func (a *App) CheckExamples(ctx context.Context) error {
	checked := *a
	checked.parse = true
	var errs []error
	for _, v := range append(checked.verbs(), checked.help()) {
		if strings.TrimSpace(v.Example) == "" {
			errs = append(errs, fmt.Errorf("%s has no example", v.name()))
		}
		for line := range strings.Lines(v.Example) {
			example, what, _ := strings.Cut(line, " # ")
			example, _, _ = strings.Cut(example, " | ") // What the shell does with the output.
			example, _, _ = strings.Cut(example, " >")
			args, err := shellquote.Split(example)
			if strings.TrimSpace(what) == "" {
				err = errors.New("does not say what it does")
			}
			if err == nil {
				var diag strings.Builder
				checked.Err = &diag
				if checked.Run(ctx, args) != control.CodeOK {
					err = errors.New(diag.String())
				}
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", example, err))
			}
		}
	}
	return errors.Join(errs...)
}
