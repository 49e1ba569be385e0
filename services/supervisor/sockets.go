package supervisor

// releaseSockets closes the kept sockets that a service does not need any more: all when it
// has stopped for good, else those that its bundle does not list. During a swap those of both
// versions are kept.
func (s *Supervisor) releaseSockets(name string) {
	svc := s.services.byName[name]
	switch {
	case s.swapping[name] || svc != nil && svc.trial != nil:
	case svc == nil || svc.state.Settled():
		s.sockets.Retain(name, nil)
	default:
		s.sockets.Retain(name, svc.settings().Listen)
	}
}
