package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"keelson/runtime/bundle"
	"keelson/runtime/security"
	"keelson/services/cli"
	"keelson/services/control"
	"keelson/services/versions"
)

// assess is the verb that prints how far services are isolated, all or the one that is named.
func assess(out io.Writer) cli.Verb {
	var asJSON bool
	return cli.Verb{
		Use: "security [NAME]", Group: cli.Look, Short: "show how far services are isolated from the machine, and what would isolate them further",
		Max: 1, Names: cli.ServiceNames, Codes: []int{control.CodeNotFound},
		Long:    "With NAME, all findings are shown. docs/security-of-services.md explains the score.",
		Example: "security        # the score of each service\nsecurity redis  # all findings, and what to write in the YAML",
		Flags:   func(f *pflag.FlagSet) { f.BoolVar(&asJSON, "json", false, "print an array of reports") },
		Run: func(_ context.Context, names []string) (int, error) {
			return printAssessed(out, names, asJSON)
		},
	}
}

func printAssessed(out io.Writer, names []string, asJSON bool) (int, error) {
	reports, err := assessAll(bundle.ServicesDir, versions.New(versions.Dir), names)
	code := control.CodeOK
	switch {
	case err != nil:
		code = control.CodeFailed
	case len(names) > 0 && len(reports) == 0:
		return control.CodeNotFound, fmt.Errorf("no service is named %s", names[0])
	}
	switch {
	case asJSON:
		err = errors.Join(err, cli.PrintJSON(out, reports))
	case len(reports) == 0 && err == nil:
		fmt.Fprintln(out, "this image has no services")
	case len(names) == 0:
		err = errors.Join(err, security.PrintTable(out, reports))
	case len(reports) > 0:
		err = errors.Join(err, reports[0].Print(out))
	}
	return code, err
}

// assessAll assesses the current bundles of services, all or those named: the image's are
// in the folder images, others in a store. It also returns the reports of the others when
// some cannot be read.
func assessAll(images string, store *versions.Store, names []string) ([]security.Report, error) {
	inImage, errImage := bundle.List(images)
	swapped, errStore := store.Names()
	all := map[string]bool{}
	for _, name := range slices.Concat(inImage, swapped) {
		all[name] = len(names) == 0 || slices.Contains(names, name)
	}
	reports, err := []security.Report{}, errors.Join(errImage, errStore)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !all[name] {
			continue
		}
		b, problem := store.LoadCurrent(images, name)
		err = errors.Join(err, problem)
		if b != nil && (len(names) > 0 || b.Settings.Role != bundle.RoleRescue) {
			reports = append(reports, security.Assess(b))
		}
	}
	return reports, err
}
