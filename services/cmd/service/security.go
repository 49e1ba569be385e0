package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"

	"keelson/runtime/bundle"
	"keelson/runtime/security"
	"keelson/services/cli"
	"keelson/services/control"
	"keelson/services/versions"
)

// assess is the verb that prints how far services are isolated. It needs no supervisor.
func assess(out io.Writer) cli.Verb {
	return cli.SecurityVerb(out, func(_ context.Context, names []string) (security.Reports, error) { return assessOwn(names), nil })
}

// assessOwn assesses the services of this system.
func assessOwn(names []string) security.Reports {
	reports, err := assessAll(bundle.ServicesDir, versions.New(versions.Dir), names)
	r := security.Reports{Reports: reports}
	if err != nil {
		r.Problems = []string{err.Error()}
	}
	return r
}

// securityRoute assesses services for clients. A process of its own reads their bundles.
func securityRoute(handle http.HandlerFunc) control.Route {
	return control.Route{Method: http.MethodGet, Path: control.SecurityPath, Role: control.Reader, Query: []string{control.NameParameter}, Answer: security.Reports{}, Handle: handle}
}

func securityHandler(w http.ResponseWriter, r *http.Request) {
	control.Reply(w, assessOwn(r.URL.Query()[control.NameParameter]))
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
