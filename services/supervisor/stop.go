package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/services/machine"
)

// signal asks the container to stop, and has it killed when it does not.
func (s *Supervisor) signal(svc *service) {
	settings := svc.settings()
	if deafTo("/proc", svc.pid, settings.StopSignal) {
		s.signalDeaf(svc, settings.StopSignal)
	} else {
		s.deliver(svc, settings.StopSignal, false)
	}
	s.arm(svc, settings.StopTimeout, machine.Timeout)
}

// signalDeaf stops a container whose first process would never get the signal.
// Its children do, and when they are gone it may end too, as a script does.
// One without children ends as the signal ends any other process.
func (s *Supervisor) signalDeaf(svc *service, signal syscall.Signal) {
	children := descendants("/proc", svc.pid)
	for _, pid := range children {
		_ = unix.Kill(pid, signal) // It may have ended.
	}
	if len(children) == 0 {
		s.options.Logger.Info("service does not catch its stop signal and is killed",
			"service", svc.name, "pid", svc.pid, "signal", unix.SignalName(signal))
		s.deliver(svc, syscall.SIGKILL, true)
	}
}

func (s *Supervisor) kill(svc *service) {
	s.options.Logger.Warn("service did not stop in time and is killed", "service", svc.name, "pid", svc.pid)
	s.deliver(svc, syscall.SIGKILL, true)
}

// deliver sends a signal by containerd or, when that cannot, straight.
func (s *Supervisor) deliver(svc *service, signal syscall.Signal, all bool) {
	r, pid, namespace := svc.run, svc.pid, svc.namespace()
	if r == nil {
		return
	}
	s.work.Go(func() {
		if tasks := s.link.current(); tasks != nil {
			ctx, cancel := context.WithTimeout(r.ctx, callTime)
			defer cancel()
			if tasks.Kill(ctx, namespace, r.name, signal, all) == nil {
				return
			}
		}
		if r.ctx.Err() == nil {
			s.deliverStraight(r, pid, signal)
		}
	})
}

// deliverStraight signals the process and, since containerd will not tell of
// its end, waits for that too.
func (s *Supervisor) deliverStraight(r *run, pid int, signal syscall.Signal) {
	if pid <= 1 {
		return
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil { // it is gone
		s.send(func() { s.hasEnded(r, exit{at: s.options.Now(), unknown: true}) })
		return
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		s.options.Logger.Error("service cannot be signalled", "service", r.name, "error", err)
		return
	}
	defer context.AfterFunc(r.ctx, func() { _ = process.Close() })()
	if waitReadable(process) == nil && r.ctx.Err() == nil {
		s.send(func() { s.hasEnded(r, exit{at: s.options.Now(), unknown: true}) })
	}
}

// waitReadable returns when a pidfd's process has ended.
func waitReadable(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0
	})
}

// writeStopDeadline tells PID 1 how long a stop of everything may take.
func (s *Supervisor) writeStopDeadline() {
	var longest time.Duration
	for _, svc := range s.services {
		longest = max(longest, svc.settings().StopTimeout)
	}
	path := filepath.Join(s.options.StateDir, "stop-deadline")
	if err := writeFile(path, []byte((longest+stopMargin).String()+"\n")); err != nil {
		s.options.Logger.Error("PID 1 will use its own deadline", "error", err)
	}
}
