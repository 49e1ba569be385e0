package supervisor

import (
	"context"
	"errors"
	"fmt"

	"keelson/runtime/bundle"
	"keelson/services/candidate"
	"keelson/services/control"
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
	s.recorder.swapOrder(r, name, nil)
	answer := make(chan control.Response, 1)
	t := &trial{Candidate: candidate.Candidate{Name: name}, by: r.Peer, answer: answer}
	progress, end := inBackground(r.Progress)
	defer end()
	t.progress = progress
	if err := s.reserve(name); err != nil {
		return s.refused(r, err)
	}
	defer s.post(func() { s.unreserve(name) })
	if r.Plan {
		return s.planSwap(ctx, r, t)
	}
	if err := s.prepareTrial(ctx, r, t); err != nil {
		return s.refused(r, err)
	}
	if !s.post(func() { s.beginTrial(t) }) {
		return control.Response{Code: control.CodeFailed, Error: "the supervisor is ending"}
	}
	select {
	case response := <-answer:
		if response.Error != "" {
			response.Error = fmt.Sprintf("cannot %s %s: %s", r.Verb, name, response.Error)
		} else if !s.versions.Lasts() {
			response.Note = s.options.Versions + " is in memory: after a reboot the image's own version runs"
		}
		return response
	case <-s.ended:
		return control.Response{Code: control.CodeFailed, Error: fmt.Sprintf("the supervisor ended before the swap of %s; the next one restores the version before", name)}
	}
}

// errShuttingDown is returned when nothing begins any more.
var errShuttingDown = errors.New("the system is shutting down")

// refused records that a swap was refused, and returns the answer.
func (s *Supervisor) refused(r control.Request, err error) control.Response {
	s.recorder.swapOrder(r, r.Names[0], err)
	code := control.CodeFailed
	if errors.Is(err, candidate.ErrNotFound) {
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

// unreserve allows other swaps of a service, and closes the sockets that it does not need now.
func (s *Supervisor) unreserve(name string) {
	delete(s.swapping, name)
	s.releaseSockets(name)
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
