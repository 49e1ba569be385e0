package candidate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"keelson/runtime/bundle"
	"keelson/services/control"
	"keelson/services/versions"
)

// ErrNotFound is returned for a service that does not exist.
var ErrNotFound = errors.New("no such service")

// Candidate is a version that is to replace one of a service.
type Candidate struct {
	Name      string
	Next      versions.Target
	Old       versions.Target
	InImage   bool           // the image has the service
	Dir       string         // folder of the bundle of Next
	Bundle    *bundle.Bundle // of Next; nil: the service is removed
	Reference string         // name of the container image of Next, if that is one
	Notes     []string       // on how the artifact is used

	RootDigest string  // of the erofs image of Next, which is not verified yet; empty: nothing to verify
	Origin     *Origin // has that image until it is copied; nil: the store has it
}

// Options of a Finder.
type Options struct {
	Dir      string // bundles of the image
	Policy   string // says what may be swapped
	Versions *versions.Store
	Stage    Stage  // reads artifacts
	Digest   Digest // verifies what Stage has not
	Copy     Copy   // copies what Stage has not
	// Persist changes the disk, if necessary by several attempts.
	Persist func(service string, change func() error) error
}

// Finder finds candidates. Its methods may be called from any goroutine.
type Finder struct {
	Options
	staging chan struct{} // full while an artifact is being read
}

// New returns a Finder.
func New(o Options) *Finder { return &Finder{Options: o, staging: make(chan struct{}, 1)} }

// InImage reports whether the image has a service.
func (f *Finder) InImage(name string) bool {
	info, err := os.Stat(filepath.Join(f.Dir, name))
	return err == nil && info.IsDir()
}

// Folder returns the folder of the bundle of a target.
func (f *Finder) Folder(name string, t versions.Target) string {
	if t == versions.Image {
		return filepath.Join(f.Dir, name)
	}
	return f.Versions.Folder(name, t)
}

// Find finds the new version of a service for Swap, Rollback and Remove. An artifact is read
// and kept in the store; if the version is not used, Drop removes it, also after an error.
func (f *Finder) Find(ctx context.Context, r control.Request, name string, progress func(string)) (*Candidate, error) {
	c := &Candidate{Name: name}
	state, err := f.Versions.Read(name)
	if err == nil && state.Trial != nil && state.Trial.Next != state.Current {
		// The end of an earlier swap could not be recorded.
		if err = f.Abandon(name); err == nil {
			state, err = f.Versions.Read(name)
		}
	}
	if err != nil {
		return c, err
	}
	c.Old, c.InImage = state.Current, f.InImage(name)
	switch r.Verb {
	case control.Swap:
		if err = f.allowedAtAll(c); err == nil { // Else nothing of the artifact is read.
			err = f.receive(ctx, r, c, progress)
		}
	case control.Rollback:
		c.Next = state.Previous
		if c.Next == "" {
			err = errors.New("it has no previous version")
		}
	case control.Remove:
		c.Next = versions.Removed
	}
	if c.Next == versions.Image && !c.InImage {
		c.Next = versions.Removed
	}
	switch {
	case err != nil:
		return c, err
	case c.Next == versions.Removed && (c.Old == versions.Removed || c.Old == versions.Image && !c.InImage):
		return c, ErrNotFound
	case c.Next == c.Old:
		return c, fmt.Errorf("%s is current", c.Next)
	}
	return c, nil
}

// Drop removes the version of a candidate that nothing uses.
func (f *Finder) Drop(c *Candidate) error {
	c.Origin.Close()
	return f.Versions.RemoveUnused(c.Name, c.Next)
}

// Abandon removes the record of a swap that nobody carries out.
func (f *Finder) Abandon(name string) error {
	return f.Persist(name, func() error { return f.Versions.Abort(name, "") })
}
