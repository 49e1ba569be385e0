package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/runtime/swappolicy"
	"keelson/services/control"
	"keelson/services/versions"
)

// prepareTrial does all that can be done before the old version is stopped, and records the
// swap. On an error, nothing has changed.
func (s *Supervisor) prepareTrial(ctx context.Context, r control.Request, t *trial) error {
	err := s.choose(ctx, r, t)
	if err == nil {
		err = s.checkNew(r.Verb, t)
	}
	if err == nil && t.new != nil {
		err = s.sockets.Open(t.name, t.new.Settings.Listen)
	}
	if err == nil {
		err = s.versions.Begin(t.name, t.next, t.ran, t.stopped, versions.Record{At: time.Now(), By: r.Peer})
		if err != nil { // It may be recorded, but not synced.
			err = errors.Join(err, s.abandon(t.name))
		}
	}
	if err != nil {
		return errors.Join(err, s.versions.RemoveUnused(t.name, t.next))
	}
	return nil
}

// abandon removes the record of a swap that nobody carries out.
func (s *Supervisor) abandon(name string) error {
	return s.persist(name, func() error { return s.versions.Abort(name, "") })
}

// choose finds the new version, after it has read it if it is an artifact.
func (s *Supervisor) choose(ctx context.Context, r control.Request, t *trial) error {
	state, err := s.versions.Read(t.name)
	if err == nil && state.Trial != nil && state.Trial.Next != state.Current {
		// The end of an earlier swap could not be recorded.
		if err = s.abandon(t.name); err == nil {
			state, err = s.versions.Read(t.name)
		}
	}
	if err != nil {
		return err
	}
	t.old, t.inImage = state.Current, s.inImage(t.name)
	switch r.Verb {
	case control.Swap:
		if err = s.allowedAtAll(t); err == nil { // Else nothing of the artifact is read.
			err = s.receive(ctx, r, t)
		}
	case control.Rollback:
		t.next = state.Previous
		if t.next == "" {
			err = errors.New("it has no previous version")
		}
	case control.Remove:
		t.next = versions.Removed
	}
	if t.next == versions.Image && !t.inImage {
		t.next = versions.Removed
	}
	switch {
	case err != nil:
		return err
	case t.next == versions.Removed && (t.old == versions.Removed || t.old == versions.Image && !t.inImage):
		return errNotFound
	case t.next == t.old:
		return fmt.Errorf("%s is current", t.next)
	}
	return nil
}

// checkNew checks the new version, and that the service can be swapped now.
func (s *Supervisor) checkNew(verb string, t *trial) error {
	if err := s.allowed(verb, t); err != nil {
		return err
	}
	if t.next != versions.Removed {
		if err := s.loadNew(t); err != nil {
			return err
		}
		if verb == control.Swap { // A version that ran before may come back with its mistakes.
			if len(t.new.Warnings) > 0 {
				return errors.Join(t.new.Warnings...)
			}
			t.probation = t.new.Settings.SwapProbation
		}
	}
	return s.ask(func() error {
		svc := s.services.byName[t.name]
		t.ran = svc == nil || !svc.state.Settled()
		if t.next == versions.Removed {
			t.stopped = s.runningDependents(t.name)
		}
		if err := s.obstacleToSwap(t.name); err != nil || t.new == nil {
			return err
		}
		if t.overlaps(svc) {
			if err := s.canOverlap(t.name, t); err != nil {
				return err
			}
		}
		return s.acceptable(t.name, t.new)
	})
}

// runningDependents returns the services that require a service and are to run.
func (s *Supervisor) runningDependents(name string) []string {
	return slices.DeleteFunc(slices.Clone(s.services.graph.Dependents(name)), func(other string) bool {
		return s.services.byName[other].state.Settled()
	})
}

// receive reads an artifact and stores it as a version.
func (s *Supervisor) receive(ctx context.Context, r control.Request, t *trial) error {
	free, err := s.reserveStaging()
	if err != nil {
		return err
	}
	defer free()
	staged, err := s.versions.Stage(t.name)
	if err != nil {
		return err
	}
	deferred := !r.Plan && !r.Force // A plan says all, and a version that failed before may have been damaged.
	meta, err := s.options.Stage(ctx, staged, r.Body, Staging{Progress: t.progress, DeferRoot: deferred})
	if err == nil {
		t.next, err = s.accept(t, staged, meta, r.Force)
	}
	if meta.Unpacked {
		t.notes = append(t.notes, fmt.Sprintf("the root is unpacked, not mounted as an erofs image: %v", prepare.LackingForImages()))
	}
	if err == nil { // Nobody has verified the files of a version that was kept and never committed.
		err = s.versions.RemoveUnused(t.name, t.next)
	}
	if err == nil {
		err = s.versions.Keep(t.name, staged, t.next)
	}
	if err != nil {
		return errors.Join(err, s.versions.Discard(staged))
	}
	if deferred {
		t.rootDigest = meta.RootDigest
	}
	return nil
}

// reserveStaging allows one artifact to be read at a time. free allows the next one.
func (s *Supervisor) reserveStaging() (free func(), err error) {
	select {
	case s.staging <- struct{}{}:
		return func() { <-s.staging }, nil
	default:
		return nil, errors.New("another artifact is being read")
	}
}

// accept checks what an artifact says of itself, and makes a bundle of a container image.
func (s *Supervisor) accept(t *trial, staged string, meta artifact.Meta, force bool) (target versions.Target, err error) {
	switch {
	case meta.Programs:
		err = errors.New("it is an artifact of keelson programs: service swap -programs takes it")
	case meta.Image:
		target, err = s.mergeImage(t, staged, meta)
	case meta.Name != "" && meta.Name != t.name:
		err = fmt.Errorf("the artifact is for service %s", meta.Name)
	default:
		target, err = versions.TargetOf(meta.Digest)
	}
	if err != nil {
		return "", err
	}
	why, err := s.versions.Rejected(t.name, target)
	if err != nil {
		return "", err
	}
	if why != "" && !force {
		return "", fmt.Errorf("version %s failed before: %s; service swap -f swaps it nevertheless", target, why)
	}
	return target, s.versions.Forgive(t.name, target)
}

// mergeImage makes a bundle of a container image, with the settings of the current version.
func (s *Supervisor) mergeImage(t *trial, staged string, meta artifact.Meta) (versions.Target, error) {
	if t.old == versions.Removed || t.old == versions.Image && !t.inImage {
		return "", errors.New("it is a container image, and there is no such service whose settings it could take: " +
			"add the service with a bundle artifact (keelson bundle)")
	}
	service, err := bundle.Load(s.dirOf(t.name, t.old))
	if err != nil {
		return "", err
	}
	service.Name = t.name // The folder of a version has another name.
	target, notes, err := s.versions.MergeImage(staged, meta, service)
	t.notes = notes
	return target, err
}

// loadNew reads the bundle of the new version.
func (s *Supervisor) loadNew(t *trial) (err error) {
	t.dir = s.dirOf(t.name, t.next)
	if t.new, err = versions.Load(t.dir, t.name); err != nil {
		return err
	}
	if refusals := bundle.Refusals(t.new.Spec); len(refusals) > 0 {
		return t.new.Explain(errors.New("the runtime would refuse it"))
	}
	if err := missingBind(t.new); err != nil {
		return err
	}
	return prepare.TryImage(t.new)
}

// allowedAtAll asks the policy whether any artifact may replace the service.
func (s *Supervisor) allowedAtAll(t *trial) error {
	policy, err := swappolicy.Load(s.options.Policy)
	if err != nil {
		return err
	}
	return policy.CheckVerb(t.name, swappolicy.Swap, t.inImage)
}

// allowed asks the policy of the image.
func (s *Supervisor) allowed(verb string, t *trial) (err error) {
	request := swappolicy.Request{Name: t.name, Verb: swappolicy.Verb(verb), Digest: t.next.Digest()}
	if t.next == versions.Removed {
		request.Verb = swappolicy.Remove
	}
	if t.inImage {
		if request.Image, err = bundle.Load(s.dirOf(t.name, versions.Image)); err != nil {
			return fmt.Errorf("cannot compare it with the version of the image: %w", err)
		}
	}
	if t.next.IsVersion() {
		meta, err := s.versions.Meta(t.name, t.next)
		if err != nil {
			return err
		}
		request.Signatures, t.reference = meta.Signatures, meta.Reference
		if request.New, err = bundle.Load(s.dirOf(t.name, t.next)); err != nil {
			return err
		}
	}
	policy, err := swappolicy.Load(s.options.Policy)
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

// inImage reports whether the image has a service.
func (s *Supervisor) inImage(name string) bool {
	info, err := os.Stat(filepath.Join(s.options.Dir, name))
	return err == nil && info.IsDir()
}

// dirOf returns the folder of the bundle of a target.
func (s *Supervisor) dirOf(name string, t versions.Target) string {
	if t == versions.Image {
		return filepath.Join(s.options.Dir, name)
	}
	return s.versions.Folder(name, t)
}
