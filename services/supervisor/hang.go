package supervisor

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"keelson/services/containerd"
)

// Times of the watch over containerd.
const (
	// pingTime is how long containerd may take to answer the simplest question.
	pingTime = 5 * time.Second
	// pingPause is how often it is asked when there is nothing else to tell that
	// it lives.
	pingPause = time.Minute
)

// containerdFailed tells whether a call failed because of containerd and not
// because of what was asked, and then sees to it that containerd comes back.
func (s *Supervisor) containerdFailed(tasks Tasks, err error) bool {
	switch {
	case containerd.Unavailable(err):
		s.link.lost(tasks)
		return true
	case errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded:
		return s.doubt(tasks)
	}
	return false
}

// doubt asks containerd whether it lives. One that does not answer is killed,
// for PID 1 to start it again: shims and services live on.
func (s *Supervisor) doubt(tasks Tasks) (hung bool) {
	ctx, cancel := context.WithTimeout(s.ctx, pingTime)
	defer cancel()
	err := tasks.Ping(ctx)
	if err == nil || s.ctx.Err() != nil {
		return false
	}
	if !containerd.Unavailable(err) {
		s.options.Logger.Error("containerd hangs and is killed; services go on", "without an answer for", pingTime)
		if err := tasks.KillDaemon(); err != nil {
			s.options.Logger.Error("containerd cannot be killed", "error", err)
		}
	}
	s.link.lost(tasks)
	return true
}

// doubtIfSlow doubts containerd unless what it was asked is done, and ctx ends,
// before long.
func (s *Supervisor) doubtIfSlow(ctx context.Context, tasks Tasks) {
	if pause(ctx, callTime) {
		s.doubt(tasks)
	}
}

// watchContainerd finds out that containerd hangs when nobody asks it anything.
func (s *Supervisor) watchContainerd() {
	for pause(s.ctx, pingPause) {
		if tasks := s.link.current(); tasks != nil {
			s.doubt(tasks)
		}
	}
}
