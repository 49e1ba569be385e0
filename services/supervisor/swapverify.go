package supervisor

import (
	"cmp"
	"context"
	"fmt"

	"keelson/runtime/artifact"
	"keelson/services/swap"
)

// verifyRoot begins to verify the erofs image of the new version if that was deferred: what
// the service reads of it is verified by dm-verity meanwhile.
func (s *Supervisor) verifyRoot(t *trial) {
	if t.RootDigest == "" {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	t.unverify = cancel
	name, want, c := t.Name, t.RootDigest, t.Candidate
	s.work.Go(func() {
		defer cancel()
		var digest string
		err := s.attempt(ctx, "cannot verify a version", name, func() (err error) {
			digest, err = s.candidates.DigestOfRoot(ctx, &c)
			return err
		})
		if err == nil && digest == want {
			err = c.Origin.Leave(c.Bundle.Image, s.options.UseCopy)
		}
		s.send(func() { s.rootVerified(name, t, digest, want, err) })
	})
}

// rootVerified turns the result of a verification into an event of the swap.
func (s *Supervisor) rootVerified(name string, t *trial, digest, want string, err error) {
	svc := s.services.byName[name]
	if svc == nil || svc.trial != t || s.stopping {
		return
	}
	switch {
	case err != nil:
		t.reason = cmp.Or(t.reason, err.Error())
		s.swapEvent(svc, swap.Unverified)
	case digest != want:
		t.reason = cmp.Or(t.reason, fmt.Sprintf("%s has the digest %s, and the manifest names %s", artifact.RootErofs, digest, want))
		s.swapEvent(svc, swap.Damaged)
	default:
		t.RootDigest = ""
		s.followVerification(svc)
	}
}

// followVerification continues a swap that waits for its verification only. A version that was
// ordered to restart must be ready again.
func (s *Supervisor) followVerification(svc *service) {
	if svc.besideOf != nil {
		svc = svc.besideOf
	}
	if t := svc.trial; t != nil && t.state == swap.Verifying && t.RootDigest == "" && t.isUp(svc) && !s.stopping {
		s.swapEvent(svc, swap.Verified)
	}
}
