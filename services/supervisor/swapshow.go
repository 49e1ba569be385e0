package supervisor

import (
	"context"
	"errors"
	"strings"

	"keelson/services/control"
)

// planSwap says what a swap would change, and whether it would be refused.
func (s *Supervisor) planSwap(ctx context.Context, r control.Request, t *trial) control.Response {
	if err := s.find(ctx, r, t); err != nil {
		return s.refused(r, err)
	}
	var response control.Response
	lines, err := s.candidates.Plan(&t.Candidate)
	if err == nil {
		err = s.checkNew(r.Verb, t)
	}
	if err = errors.Join(err, s.candidates.Drop(&t.Candidate)); err != nil {
		response = s.refused(r, err)
	}
	response.Plan = lines
	return response
}

// differences lists the services, and keelson's own programs, that differ from the image.
func (s *Supervisor) differences() control.Response {
	all, err := s.candidates.Differences()
	own, ownErr := s.upgrade.Difference()
	all = append(all, own...)
	if err = errors.Join(err, ownErr); err != nil {
		return control.Response{Changes: all, Code: control.CodeFailed, Error: strings.TrimSpace(err.Error())}
	}
	return control.Response{Changes: all}
}
