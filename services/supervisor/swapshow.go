package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/privilege"
	"keelson/services/control"
	"keelson/services/versions"
)

// planSwap says what a swap would change, and whether it would be refused.
func (s *Supervisor) planSwap(ctx context.Context, r control.Request, t *trial) control.Response {
	if err := s.choose(ctx, r, t); err != nil {
		return s.refused(r, err)
	}
	var response control.Response
	lines, err := s.planLines(t)
	if err == nil {
		err = s.checkNew(r.Verb, t)
	}
	if err = errors.Join(err, s.versions.RemoveUnused(t.name, t.next)); err != nil {
		response = s.refused(r, err)
	}
	response.Plan = lines
	return response
}

// planLines returns what differs between the bundles of the old and the new version.
func (s *Supervisor) planLines(t *trial) (lines []string, err error) {
	if t.next == versions.Removed {
		return []string{"the service is stopped and does not exist any more"}, nil
	}
	var before *bundle.Bundle
	if t.old.IsVersion() || t.old == versions.Image && t.inImage {
		if before, err = bundle.Load(s.dirOf(t.name, t.old)); err != nil {
			return nil, err
		}
	} else {
		lines = append(lines, "the service is added")
	}
	after, err := bundle.Load(s.dirOf(t.name, t.next))
	if err != nil {
		return nil, err
	}
	if meta, err := s.versions.Meta(t.name, t.next); err == nil && meta.Image {
		lines = append(lines, fmt.Sprintf("root: that of container image %s", cmp.Or(meta.Reference, meta.Digest)))
	}
	lines = append(lines, t.notes...)
	all, err := privilege.Plan(before, after)
	for _, c := range all {
		lines = append(lines, c.String())
	}
	return lines, err
}

// differences lists the services that differ from the image.
func (s *Supervisor) differences() control.Response {
	names, err := s.versions.Names()
	var all []control.Difference
	var errs []error
	for _, name := range names {
		state, err := s.versions.Read(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		inImage := s.inImage(name)
		change := "swapped"
		switch {
		case state.Current == versions.Image && (state.Previous == "" || !inImage):
			continue
		case state.Current == versions.Image:
			change = "reverted"
		case state.Current == versions.Removed && !inImage && state.Previous == "":
			continue
		case state.Current == versions.Removed:
			change = "removed"
		case !inImage:
			change = "added"
		}
		d := control.Difference{Name: name, Change: change, Version: state.Current.Digest(), Since: state.Record.At, By: state.Record.By}
		d.Previous = state.Previous.Text()
		if meta, err := s.versions.Meta(name, state.Current); state.Current.IsVersion() && err == nil {
			d.Image = meta.Reference
		}
		all = append(all, d)
	}
	own, ownErr := s.upgrade.Difference()
	all = append(all, own...)
	if err = errors.Join(append(errs, err, ownErr)...); err != nil {
		return control.Response{Changes: all, Code: control.CodeFailed, Error: strings.TrimSpace(err.Error())}
	}
	return control.Response{Changes: all}
}
