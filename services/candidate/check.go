package candidate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/runtime/swappolicy"
	"keelson/services/control"
	"keelson/services/versions"
)

// Check asks the policy whether verb may bring the candidate, and loads its bundle.
func (f *Finder) Check(verb string, c *Candidate) error {
	if err := f.allowed(verb, c); err != nil || c.Next == versions.Removed {
		return err
	}
	if err := f.load(c); err != nil {
		return err
	}
	if verb == control.Swap { // A version that ran before may come back with its mistakes.
		return errors.Join(c.Bundle.Warnings...)
	}
	return nil
}

// load reads the bundle of the new version.
func (f *Finder) load(c *Candidate) (err error) {
	c.Dir = f.Folder(c.Name, c.Next)
	if c.Bundle, err = versions.Load(c.Dir, c.Name); err != nil {
		return err
	}
	c.UseOrigin(c.Bundle, c.Dir)
	if refusals := bundle.Refusals(c.Bundle.Spec); len(refusals) > 0 {
		return c.Bundle.Explain(errors.New("the runtime would refuse it"))
	}
	if err := missingBind(c.Bundle); err != nil {
		return err
	}
	return prepare.TryImage(c.Bundle)
}

// allowedAtAll asks the policy whether any artifact may replace the service.
func (f *Finder) allowedAtAll(c *Candidate) error {
	policy, err := swappolicy.Load(f.Policy)
	if err != nil {
		return err
	}
	return policy.CheckVerb(c.Name, swappolicy.Swap, c.InImage)
}

// allowed asks the policy of the image.
func (f *Finder) allowed(verb string, c *Candidate) (err error) {
	request := swappolicy.Request{Name: c.Name, Verb: swappolicy.Verb(verb), Digest: c.Next.Digest()}
	if c.Next == versions.Removed {
		request.Verb = swappolicy.Remove
	}
	if c.InImage {
		if request.Image, err = bundle.Load(f.Folder(c.Name, versions.Image)); err != nil {
			return fmt.Errorf("cannot compare it with the version of the image: %w", err)
		}
	}
	if c.Next.IsVersion() {
		meta, err := f.Versions.Meta(c.Name, c.Next)
		if err != nil {
			return err
		}
		request.Signatures, c.Reference = meta.Signatures, meta.Reference
		if request.New, err = bundle.Load(f.Folder(c.Name, c.Next)); err != nil {
			return err
		}
	}
	policy, err := swappolicy.Load(f.Policy)
	if err != nil {
		return err
	}
	return policy.Check(request)
}

// missingBind returns an error for a bind of a file that does not exist.
func missingBind(b *bundle.Bundle) error {
	for i, m := range b.Spec.Mounts {
		if !bundle.IsBind(m) || !filepath.IsAbs(m.Source) {
			continue
		}
		if _, err := os.Stat(m.Source); errors.Is(err, fs.ErrNotExist) && !slices.Contains(b.Runtime.Mkdir, m.Source) {
			return fmt.Errorf("%s: mounts[%d].source: %s does not exist on this machine", filepath.Join(b.Dir, bundle.ConfigFile), i, m.Source)
		}
	}
	return nil
}
