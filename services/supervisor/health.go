package supervisor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/services/machine"
	"keelson/services/probe"
)

// probes carries out Probe: it tells when a service is ready.
func (s *Supervisor) probe(svc *service) {
	settings := svc.settings()
	if settings.Ready.Kind == "" {
		s.apply(svc, machine.Ready)
		return
	}
	svc.status = notReady
	r, c := svc.run, svc.run.container(svc.pid)
	s.work.Go(func() {
		err := s.prober.Wait(r.ctx, settings.Ready, c, settings.ReadyTimeout)
		if r.ctx.Err() != nil {
			return
		}
		s.send(func() {
			switch {
			case svc.run != r || svc.state != machine.Activating:
			case err != nil:
				s.unwell(svc, err)
			default:
				svc.status = r.says()
				s.apply(svc, machine.Ready)
			}
		})
	})
}

// watch carries out Watch: it tells when a service is not well any more.
func (s *Supervisor) watch(svc *service) {
	settings := svc.settings()
	if settings.Health.Kind == "" && svc.run.notify == nil {
		return
	}
	r, c := svc.run, svc.run.container(svc.pid)
	s.work.Go(func() {
		err := s.prober.Watch(r.ctx, settings.Health, c, settings.HealthInterval, settings.HealthTimeout, settings.HealthRetries)
		if r.ctx.Err() != nil {
			return
		}
		s.send(func() {
			if svc.run == r && svc.state == machine.Running {
				s.unwell(svc, err)
			}
		})
	})
}

func (s *Supervisor) unwell(svc *service, err error) {
	svc.reason = "unhealthy: " + err.Error()
	svc.status = ""
	svc.firstIs(down)
	s.event(svc, svc.reason+"; is stopped", 0)
	s.apply(svc, machine.Unhealthy)
}

// container is what probes need of a run.
func (r *run) container(pid int) probe.Container {
	s := r.supervisor
	var lines []probe.Log
	for i, suffix := range logSuffix {
		lines = append(lines, probe.Log{Path: filepath.Join(s.options.LogDir, r.name+suffix), Offset: r.logAt[i]})
	}
	return probe.Container{
		PID: pid, Notify: r.notify, Lines: s.prober.Follow(lines...),
		Exec: func(ctx context.Context, args []string) (int, string, error) {
			return s.options.Exec(ctx, r.bundle.Namespace(), r.name, args)
		},
	}
}

// logEnds is where the logs of a service end now.
func (s *Supervisor) logEnds(name string) (ends [2]int64) {
	for i, suffix := range logSuffix {
		if info, err := os.Stat(filepath.Join(s.options.LogDir, name+suffix)); err == nil {
			ends[i] = info.Size()
		}
	}
	return ends
}

// notifies tells whether the service has a socket for sd_notify(3).
func (r *run) notifies() bool {
	settings := r.bundle.Settings
	return settings.Ready.Kind == notifyKind || settings.Health.Kind == notifyKind
}

const notifyKind = "notify"

// addNotifySocket gives the service its socket for sd_notify(3), if it has one.
func (r *run) addNotifySocket(e *bundle.Edit) {
	if !r.notifies() {
		return
	}
	dir, mount := prepare.PrivateDir(r.bundle.Spec)
	if dir != "" {
		e.Mounts = append(e.Mounts, mount)
	}
	r.notifyAt = probe.NotifySocket(r.name, dir)
	e.Env = append(e.Env, "NOTIFY_SOCKET="+r.notifyAt)
}

// listen takes the messages of the service from now on.
func (r *run) listen(pid int) error {
	if !r.notifies() {
		return nil
	}
	if r.notify != nil { // of a try before
		_ = r.notify.Close()
	}
	n, err := probe.Listen(r.notifyAt, pid, r.others)
	if err != nil {
		return err
	}
	r.notify = n
	s := r.supervisor
	s.work.Go(func() {
		err := n.Serve(r.ctx, func(probe.State) { s.send(func() { s.hear(r) }) })
		if err != nil {
			s.options.Logger.Error("service is not heard any more", "service", r.name, "error", err)
		}
	})
	return nil
}

// hear keeps what a service says of itself.
func (s *Supervisor) hear(r *run) {
	svc := r.service
	if svc.run != r {
		return
	}
	svc.status = r.says()
	if svc.state == machine.Activating && svc.status == "" {
		svc.status = notReady
	}
}

const notReady = "not ready yet"

// says is what a service has told of itself by sd_notify(3).
func (r *run) says() string {
	if r.notify == nil {
		return ""
	}
	state := r.notify.State()
	switch {
	case state.Stopping:
		return strings.TrimSuffix("stops by itself: "+state.Status, ": ")
	case state.Reloading:
		return strings.TrimSuffix("reloading: "+state.Status, ": ")
	}
	return state.Status
}

// Times and sizes of commands in containers.
const (
	// runtimeState is where the shim has the runtime keep containers' states.
	runtimeState = "/run/containerd/runc"
	// execGrace is how long a command has to end once it was told to.
	execGrace = time.Second
	// execOutput is how much of its output is kept, in bytes.
	execOutput = 4 << 10
)

// inside runs commands in containers by the OCI runtime, without containerd.
type inside struct {
	runtime string // path
	dir     string // for files that live as long as a command
}

func (i *inside) exec(ctx context.Context, namespace, name string, args []string) (code int, output string, err error) {
	dir, err := os.MkdirTemp(i.dir, "exec-")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	pidFile := filepath.Join(dir, "pid")
	cmd := exec.CommandContext(ctx, i.runtime, append([]string{"--root", filepath.Join(runtimeState, namespace),
		"exec", "--pid-file", pidFile, name}, args...)...)
	var out ending
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { // The runtime passes on SIGTERM; it cannot pass on SIGKILL.
		if text, err := os.ReadFile(pidFile); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
				return unix.Kill(pid, unix.SIGKILL)
			}
		}
		return cmd.Process.Signal(unix.SIGTERM)
	}
	cmd.WaitDelay = execGrace
	err = cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), out.String(), nil
	}
	return 0, out.String(), err
}

// ending keeps the end of what is written to it.
type ending []byte

func (e *ending) Write(p []byte) (int, error) {
	*e = append(*e, p...)
	*e = (*e)[max(0, len(*e)-execOutput):]
	return len(p), nil
}

func (e *ending) String() string { return string(*e) }
