package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/runtime/swappolicy"
	"keelson/services/control"
	"keelson/services/versions"
)

// controlSwap carries out Swap, Rollback and Remove, in the goroutine of the client. What
// waits for a disk is done here, the rest in Serve's goroutine.
func (s *Supervisor) controlSwap(ctx context.Context, r control.Request) control.Response {
	if len(r.Names) != 1 {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot %s %d services: name one", r.Verb, len(r.Names))}
	}
	name := r.Names[0]
	if err := bundle.CheckName("services", name); err != nil {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot %s: %v", r.Verb, err)}
	}
	answer := make(chan control.Response, 1)
	t := &trial{name: name, by: r.Peer, answer: answer}
	progress, end := inBackground(r.Progress)
	defer end()
	t.progress = progress
	if err := s.reserve(name); err != nil {
		return refused(r, err)
	}
	defer s.post(func() { delete(s.swapping, name) })
	if err := s.prepareTrial(ctx, r, t); err != nil {
		return refused(r, err)
	}
	if !s.post(func() { s.beginTrial(t) }) {
		return control.Response{Code: control.CodeFailed, Error: "the supervisor is ending"}
	}
	select {
	case response := <-answer:
		if response.Error != "" {
			response.Error = fmt.Sprintf("cannot %s %s: %s", r.Verb, name, response.Error)
		}
		return response
	case <-s.ended:
		return control.Response{Code: control.CodeFailed, Error: fmt.Sprintf("the supervisor ended before the swap of %s; the next one restores the version before", name)}
	}
}

// notFound is returned for a service that does not exist.
var errNotFound = errors.New("no such service")

func refused(r control.Request, err error) control.Response {
	code := control.CodeFailed
	if errors.Is(err, errNotFound) {
		code = control.CodeNotFound
	}
	return control.Response{Code: code, Error: fmt.Sprintf("cannot %s %s: %v", r.Verb, r.Names[0], err)}
}

// reserve allows one swap of a service at a time, from its first byte to its end.
func (s *Supervisor) reserve(name string) error {
	return s.ask(func() error {
		if s.swapping[name] {
			return errors.New("another swap of it has begun")
		}
		if err := s.obstacleToSwap(name); err != nil {
			return err
		}
		s.swapping[name] = true
		return nil
	})
}

// ask runs f in Serve's goroutine and returns its result.
func (s *Supervisor) ask(f func() error) error {
	answer := make(chan error, 1)
	if !s.post(func() { answer <- f() }) {
		return errors.New("the supervisor is ending")
	}
	select {
	case err := <-answer:
		return err
	case <-s.ended:
		return errors.New("the supervisor ended")
	}
}

// prepareTrial does all that can be done before the old version is stopped. On an error,
// nothing has changed.
func (s *Supervisor) prepareTrial(ctx context.Context, r control.Request, t *trial) (err error) {
	state, err := s.versions.Read(t.name)
	if err != nil {
		return err
	}
	t.old = state.Current
	switch r.Verb {
	case control.Swap:
		err = s.receive(ctx, r, t)
	case control.Rollback:
		t.next = state.Previous
		if t.next == "" {
			err = fmt.Errorf("it has no previous version")
		}
	case control.Remove:
		t.next = versions.Removed
	}
	if err != nil {
		return err
	}
	inImage := s.inImage(t.name)
	if t.next == versions.Image && !inImage {
		t.next = versions.Removed
	}
	if t.next == versions.Removed && (t.old == versions.Removed || t.old == versions.Image && !inImage) {
		return errNotFound
	}
	if t.next == t.old {
		return fmt.Errorf("%s is current", t.next)
	}
	if err := s.allowed(r.Verb, t, inImage); err != nil {
		return err
	}
	if t.next != versions.Removed {
		if err := s.loadNew(t); err != nil {
			return err
		}
		if r.Verb == control.Swap {
			t.probation = t.new.Settings.SwapProbation
		}
	}
	err = s.ask(func() error {
		svc := s.services.byName[t.name]
		t.ran = svc == nil || !svc.state.Settled()
		if err := s.obstacleToSwap(t.name); err != nil || t.new == nil {
			return err
		}
		return s.acceptable(t.name, t.new)
	})
	if err != nil {
		return err
	}
	return s.versions.Begin(t.name, t.next, t.ran, versions.Record{At: time.Now(), By: r.Peer})
}

// receive reads an artifact and stores it as a version.
func (s *Supervisor) receive(ctx context.Context, r control.Request, t *trial) error {
	select {
	case s.staging <- struct{}{}:
		defer func() { <-s.staging }()
	default:
		return errors.New("another artifact is being read")
	}
	staged, err := s.versions.Stage(t.name)
	if err != nil {
		return err
	}
	meta, err := s.options.Stage(ctx, staged, r.Body, t.progress)
	if err == nil {
		t.next, err = s.acceptMeta(t.name, meta, r.Force)
	}
	if err == nil {
		err = s.versions.Keep(t.name, staged, t.next)
	}
	if err != nil {
		return errors.Join(err, s.versions.Discard(staged))
	}
	return nil
}

// acceptMeta checks what an artifact says of itself.
func (s *Supervisor) acceptMeta(name string, meta artifact.Meta, force bool) (versions.Target, error) {
	target, err := versions.TargetOf(meta.Digest)
	if err != nil {
		return "", err
	}
	if meta.Image {
		return "", errors.New("it is a container image: make a bundle artifact of it with keelson bundle")
	}
	if meta.Name != "" && meta.Name != name {
		return "", fmt.Errorf("the artifact is for service %s", meta.Name)
	}
	why, err := s.versions.Rejected(name, target)
	if err != nil {
		return "", err
	}
	if why != "" && !force {
		return "", fmt.Errorf("version %s failed before: %s; service swap -f swaps it nevertheless", target, why)
	}
	return target, s.versions.Forgive(name, target)
}

// loadNew reads the bundle of the new version.
func (s *Supervisor) loadNew(t *trial) (err error) {
	t.dir = s.dirOf(t.name, t.next)
	if t.new, err = versions.Load(t.dir, t.name); err != nil {
		return err
	}
	if len(t.new.Warnings) > 0 {
		return errors.Join(t.new.Warnings...)
	}
	if refusals := bundle.Refusals(t.new.Spec); len(refusals) > 0 {
		return t.new.Explain(errors.New("the runtime would refuse it"))
	}
	return missingBind(t.new)
}

// allowed asks the policy of the image.
func (s *Supervisor) allowed(verb string, t *trial, inImage bool) (err error) {
	request := swappolicy.Request{Name: t.name, Verb: swappolicy.Verb(verb), Digest: t.next.Digest()}
	if t.next == versions.Removed {
		request.Verb = swappolicy.Remove
	}
	if inImage {
		if request.Image, err = bundle.Load(s.dirOf(t.name, versions.Image)); err != nil {
			return fmt.Errorf("cannot compare it with the version of the image: %w", err)
		}
	}
	if t.next.IsVersion() {
		meta, err := s.versions.Meta(t.name, t.next)
		if err != nil {
			return err
		}
		request.Signatures = meta.Signatures
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
		if m.Type != "bind" && !slices.Contains(m.Options, "bind") && !slices.Contains(m.Options, "rbind") || !filepath.IsAbs(m.Source) {
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

// inBackground returns a function that passes text on without waiting for progress, and
// one that waits until all is passed on. What does not fit is dropped.
func inBackground(progress func(string)) (tell func(string), end func()) {
	if progress == nil {
		return func(string) {}, func() {}
	}
	texts, quit, done := make(chan string, 16), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case text := <-texts:
				progress(text)
			case <-quit:
				for len(texts) > 0 {
					progress(<-texts)
				}
				return
			}
		}
	}()
	tell = func(text string) {
		select {
		case texts <- text:
		default:
		}
	}
	return tell, func() {
		close(quit)
		<-done
	}
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
		d.Previous = cmp.Or(state.Previous.Digest(), string(state.Previous))
		all = append(all, d)
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return control.Response{Changes: all, Code: control.CodeFailed, Error: strings.TrimSpace(err.Error())}
	}
	return control.Response{Changes: all}
}
