package pressure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/procfs"
	"keelson/runtime/psi"
)

const (
	// settle is the time between the kernel's event and the look at the services: it averages the time
	// that each has lost every two seconds.
	settle = 2 * time.Second
	// firstPause is the shortest time between two restarts: a service must end and start, and
	// the memory that it gives back must have an effect. It doubles up to longestPause with
	// each further restart, until the memory has sufficed for calm.
	firstPause   = 30 * time.Second
	longestPause = 10 * time.Minute
	calm         = 10 * time.Minute
)

// Service is a service that may be restarted.
type Service struct {
	Name   string
	PID    int    // of its first process
	Cgroup string // path of the cgroup with its limits
	Within string // path from there to the one with its processes; empty: the same
	Score  int    // oom_score_adj
}

// Supervisor owns the services.
type Supervisor interface {
	// Sheddable returns the services that may be restarted when memory is short.
	Sheddable() ([]Service, error)
	// Relieve restarts one, and shows why. It returns an error if it is not the same any more.
	Relieve(s Service, why string) error
}

// Options of Watch. What is left empty has the default named.
type Options struct {
	Wait    func(context.Context) error // returns when tasks of the machine wait for memory
	Cgroups string                      // /sys/fs/cgroup
	Proc    string                      // /proc
	Logger  *slog.Logger
}

// Watch restarts services until ctx ends, which is no error.
func Watch(ctx context.Context, s Supervisor, o Options) error {
	o.Cgroups, o.Proc = cmp.Or(o.Cgroups, "/sys/fs/cgroup"), cmp.Or(o.Proc, "/proc")
	if !supported(o.Cgroups) {
		return errors.New("it takes cgroups of version 2")
	}
	restarts, told := 0, false
	var last time.Time
	for {
		if err := o.Wait(ctx); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		if !last.IsZero() && time.Since(last) > calm {
			restarts, told = 0, false
		}
		if !backoff.Wait(ctx, settle) {
			return nil
		}
		restarted, err := relieve(s, o)
		switch {
		case restarted:
			restarts, told = restarts+1, false
		case err != nil && !told: // Not at each of the events that follow.
			o.Logger.Warn("tasks wait for memory, and no service is restarted", "why", err)
			told = true
		}
		if !backoff.Wait(ctx, backoff.Delay(restarts, firstPause, longestPause)) {
			return nil
		}
		last = time.Now()
	}
}

// relieve restarts the service that is worst off. The error says why it restarts none.
func relieve(s Supervisor, o Options) (restarted bool, err error) {
	services, err := s.Sheddable()
	if err != nil {
		return false, err
	}
	m, err := procfs.ReadMemory(o.Proc)
	if err != nil {
		return false, err
	}
	uses := make([]Use, len(services))
	for i, service := range services {
		limited := filepath.Join(o.Cgroups, filepath.Join("/", service.Cgroup))
		uses[i] = readUse(filepath.Join(limited, service.Within), limited)
		uses[i].Score = service.Score
	}
	c := Choose(m, uses)
	if c.Index < 0 {
		return false, errors.New(c.Why)
	}
	if err := s.Relieve(services[c.Index], c.Why); err != nil {
		return false, err
	}
	return true, nil
}

// WatchMachine is Watch with the memory of the machine, as keelson.pressure= on a kernel command line
// says. Without it, it returns at once.
func WatchMachine(ctx context.Context, s Supervisor, commandLine string, logger *slog.Logger) error {
	threshold := psi.OnCommandLine(commandLine)
	if threshold == (psi.Threshold{}) {
		return nil
	}
	trigger, err := psi.Open(psi.Memory, threshold)
	if err != nil {
		return fmt.Errorf("%s has no effect: %w", psi.Parameter, err)
	}
	defer trigger.Close()
	if err := Watch(ctx, s, Options{Wait: trigger.Wait, Logger: logger}); err != nil {
		return fmt.Errorf("%s has no effect: %w", psi.Parameter, err)
	}
	return nil
}
