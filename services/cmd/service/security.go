package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"keelson/runtime/bundle"
	"keelson/runtime/security"
	"keelson/services/control"
	"keelson/services/versions"
)

// assess prints how far services are isolated, all or the one that is named.
func assess(_ context.Context, inv invocation) (int, error) {
	reports, err := assessAll(bundle.ServicesDir, versions.New(versions.Dir), inv.names)
	code := control.CodeOK
	switch {
	case err != nil:
		code = control.CodeFailed
	case len(inv.names) > 0 && len(reports) == 0:
		return control.CodeNotFound, fmt.Errorf("no service is named %s", inv.names[0])
	}
	switch {
	case inv.json:
		err = errors.Join(err, printJSON(inv, reports))
	case len(reports) == 0 && err == nil:
		fmt.Fprintln(inv.out, "this image has no services")
	case len(inv.names) == 0:
		err = errors.Join(err, security.PrintTable(inv.out, reports))
	case len(reports) > 0:
		err = errors.Join(err, reports[0].Print(inv.out))
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
