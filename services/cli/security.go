package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/pflag"

	"keelson/runtime/security"
	"keelson/services/control"
)

// SecurityVerb returns the verb that prints how far services are isolated, all or the one that is named.
// assess returns the reports.
func SecurityVerb(out io.Writer, assess func(ctx context.Context, names []string) (security.Reports, error)) Verb {
	var asJSON bool
	return Verb{
		Use: "security [NAME]", Group: Look, Short: "show how far services are isolated from the machine, and what would isolate them further",
		Max: 1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Long:    "With NAME, all findings are shown. docs/security-of-services.md explains the score.",
		Example: "security        # the score of each service\nsecurity redis  # all findings, and what to write in the YAML",
		Flags:   func(f *pflag.FlagSet) { f.BoolVar(&asJSON, "json", false, "print an array of reports") },
		Run: func(ctx context.Context, names []string) (int, error) {
			r, err := assess(ctx, names)
			if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
				return max(refused.Code, control.CodeFailed), fmt.Errorf("security: %w", err)
			}
			if err != nil {
				return control.CodeFailed, err
			}
			return printReports(out, r, names, asJSON)
		},
	}
}

func printReports(out io.Writer, r security.Reports, names []string, asJSON bool) (int, error) {
	code := control.CodeOK
	var err error
	for _, problem := range r.Problems {
		code, err = control.CodeFailed, errors.Join(err, errors.New(problem))
	}
	switch {
	case err == nil && len(names) > 0 && len(r.Reports) == 0:
		return control.CodeNotFound, fmt.Errorf("no service is named %s", names[0])
	case asJSON:
		err = errors.Join(err, PrintJSON(out, append([]security.Report{}, r.Reports...)))
	case len(r.Reports) == 0 && err == nil:
		fmt.Fprintln(out, "this image has no services")
	case len(names) == 0:
		err = errors.Join(err, security.PrintTable(out, r.Reports))
	case len(r.Reports) > 0:
		err = errors.Join(err, r.Reports[0].Print(out))
	}
	return code, err
}

// security is the verb for a system elsewhere.
func (a *App) security() Verb {
	return SecurityVerb(a.Out, func(ctx context.Context, names []string) (r security.Reports, err error) {
		err = a.Client.Get(ctx, control.SecurityPath, url.Values{control.NameParameter: names}, &r)
		if refused := (*control.RefusedError)(nil); err != nil && !errors.As(err, &refused) {
			err = a.explain(err)
		}
		return r, err
	})
}
