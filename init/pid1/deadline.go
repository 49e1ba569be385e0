package pid1

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stopDefault = 20 * time.Second
	stopMax     = 10 * time.Minute
	readLimit   = time.Second
)

// stopDeadline asks for it, without waiting for a file system that hangs.
func (p *pid1) stopDeadline() time.Duration {
	said := make(chan time.Duration, 1)
	p.serve("stop deadline", func() { said <- stopDeadline(stateDir + "/stop-deadline") })
	limit := time.NewTimer(readLimit)
	defer limit.Stop()
	select {
	case d := <-said:
		return d
	case <-limit.C:
		return stopDefault
	}
}

// stopDeadline is how long the supervisor says it may need. Whatever lies there
// instead of its file is not waited for.
func stopDeadline(path string) time.Duration {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return stopDefault
	}
	defer unix.Close(fd)
	text := make([]byte, 64)
	n, err := unix.Read(fd, text)
	d, parseErr := time.ParseDuration(strings.TrimSpace(string(text[:max(n, 0)])))
	if err != nil || parseErr != nil || d <= 0 {
		return stopDefault
	}
	return min(d, stopMax)
}
