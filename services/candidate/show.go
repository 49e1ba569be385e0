package candidate

import (
	"cmp"
	"errors"
	"fmt"

	"keelson/runtime/bundle"
	"keelson/runtime/privilege"
	"keelson/services/control"
	"keelson/services/versions"
)

// Plan returns what differs between the bundles of the old and the new version.
func (f *Finder) Plan(c *Candidate) (lines []string, err error) {
	if c.Next == versions.Removed {
		return []string{"the service is stopped and does not exist any more"}, nil
	}
	var before *bundle.Bundle
	if c.Old.IsVersion() || c.Old == versions.Image && c.InImage {
		if before, err = bundle.Load(f.Folder(c.Name, c.Old)); err != nil {
			return nil, err
		}
	} else {
		lines = append(lines, "the service is added")
	}
	after, err := bundle.Load(f.Folder(c.Name, c.Next))
	if err != nil {
		return nil, err
	}
	if meta, err := f.Versions.Meta(c.Name, c.Next); err == nil && meta.Image {
		lines = append(lines, fmt.Sprintf("root: that of container image %s", cmp.Or(meta.Reference, meta.Digest)))
	}
	lines = append(lines, c.Notes...)
	all, err := privilege.Plan(before, after)
	for _, c := range all {
		lines = append(lines, c.String())
	}
	return lines, err
}

// Differences lists the services that differ from the image, with an error for those of which that is
// not known.
func (f *Finder) Differences() ([]control.Difference, error) {
	names, err := f.Versions.Names()
	var all []control.Difference
	var errs []error
	for _, name := range names {
		state, err := f.Versions.Read(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		inImage := f.InImage(name)
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
		if meta, err := f.Versions.Meta(name, state.Current); state.Current.IsVersion() && err == nil {
			d.Image = meta.Reference
		}
		all = append(all, d)
	}
	return all, errors.Join(append(errs, err)...)
}
