package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/programs"
	"keelson/runtime/programs/verify"
	"keelson/runtime/swappolicy"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/versions"
)

const (
	// programsName is the name of keelson's own programs in their store and in answers.
	programsName = "programs"
	// probationDefault and probationMax are how long programs are on trial after they have
	// passed all checks. PID 1 ends a trial after 90 s.
	probationDefault = 30 * time.Second
	probationMax     = 40 * time.Second
	// roleTime is how long the role of /init may take that checks programs or uses them.
	roleTime = 3 * time.Minute
)

// runRole runs `init programs` and returns what it prints. The role ends with this process:
// it must not put programs into use after the next supervisor has given up the trial.
func runRole(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, roleTime)
	defer cancel()
	runtime.LockOSThread() // The kernel sends Pdeathsig when the thread ends that has started the process.
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/init", append([]string{programsName}, args...)...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", errors.New(cmp.Or(strings.TrimSpace(strings.TrimPrefix(errs.String(), "init: ")), err.Error()))
	}
	return strings.TrimSpace(out.String()), nil
}

// programsOrder is a swap of keelson's own programs that a client has ordered.
type programsOrder struct {
	control.Request
	tell func(format string, args ...any)
	next versions.Target
	old  versions.Target
}

// controlPrograms carries out Swap and Rollback of keelson's own programs, in the goroutine of
// the client, up to the point where the supervisor ends and the one among the new programs
// continues (programstrial.go).
func (s *Supervisor) controlPrograms(ctx context.Context, r control.Request) control.Response {
	if len(r.Names) != 0 || r.Verb != control.Swap && r.Verb != control.Rollback || r.Probation < 0 || r.Probation > probationMax {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot %s programs: name no service, and a probation of at most %v", r.Verb, probationMax)}
	}
	o := &programsOrder{Request: r, tell: func(format string, args ...any) { r.Progress(fmt.Sprintf(format, args...)) }}
	s.recordSwapOrder(events.Programs, r, "", nil)
	response, err := s.swapPrograms(ctx, o)
	if err != nil {
		s.recordSwapOrder(events.Programs, r, "", err)
		response.Code, response.Error = control.CodeFailed, fmt.Sprintf("cannot %s the programs: %v", r.Verb, err)
	}
	return response
}

func (s *Supervisor) swapPrograms(ctx context.Context, o *programsOrder) (response control.Response, err error) {
	if err := s.reservePrograms(); err != nil {
		return response, err
	}
	ended := false
	defer func() {
		if !ended {
			s.post(func() { s.programsBusy = false })
		}
	}()
	if err := s.choosePrograms(ctx, o); err != nil {
		return response, err
	}
	answers, err := s.checkPrograms(ctx, o)
	if err == nil && o.Plan {
		response.Plan = append([]string{fmt.Sprintf("%s is replaced by %s", o.old, o.next)}, answers...)
	}
	if err != nil || o.Plan {
		return response, errors.Join(err, s.programs.RemoveUnused(programsName, o.next))
	}
	for _, line := range answers {
		o.tell("%s", line)
	}
	if err := s.beginPrograms(ctx, o); err != nil {
		return response, errors.Join(err, s.programs.RemoveUnused(programsName, o.next))
	}
	ended = true
	o.tell("%s is on trial in place of %s; containerd and the supervisor are started anew", o.next, o.old)
	s.programsEvent("trial", o.next, fmt.Sprintf("swapping %s for %s, ordered by %s", o.old, o.next, cmp.Or(o.Peer, "nobody known")), 0)
	s.killContainerd(ctx)
	s.end(nil)
	<-ctx.Done() // The process ends before.
	return response, nil
}

// reservePrograms allows one swap at a time, of the programs or of services.
func (s *Supervisor) reservePrograms() error {
	return s.ask(func() error {
		for _, name := range s.services.names {
			if s.services.byName[name].trial != nil {
				return fmt.Errorf("a swap of service %s has begun", name)
			}
		}
		for name := range s.swapping {
			return fmt.Errorf("a swap of service %s has begun", name)
		}
		if err := s.obstacleToSwap(programsName); err != nil {
			return err
		}
		s.programsBusy = true
		return nil
	})
}

// choosePrograms finds the new version, after it has read it if it is an artifact, and asks
// the policy.
func (s *Supervisor) choosePrograms(ctx context.Context, o *programsOrder) error {
	state, err := s.programs.Read(programsName)
	if err != nil {
		return err
	}
	o.old = state.Current
	if o.Verb == control.Rollback {
		if o.next = state.Previous; o.next == "" {
			return errors.New("they have no previous version")
		}
	} else if err := s.receivePrograms(ctx, o); err != nil {
		return err
	}
	if o.next == o.old {
		return fmt.Errorf("%s is current", o.next)
	}
	var signatures []string
	if o.next.IsVersion() {
		meta, err := s.programs.Meta(programsName, o.next)
		if err != nil {
			return err
		}
		signatures = meta.Signatures
	}
	policy, err := swappolicy.Load(s.options.Policy)
	if err == nil {
		err = policy.CheckPrograms(swappolicy.Verb(o.Verb), o.next.Digest(), signatures)
	}
	if err != nil {
		return errors.Join(err, s.programs.RemoveUnused(programsName, o.next))
	}
	return nil
}

// receivePrograms reads an artifact and stores it as a version.
func (s *Supervisor) receivePrograms(ctx context.Context, o *programsOrder) error {
	select {
	case s.staging <- struct{}{}:
		defer func() { <-s.staging }()
	default:
		return errors.New("another artifact is being read")
	}
	staged, err := s.programs.Stage(programsName)
	if err != nil {
		return err
	}
	meta, err := s.options.Stage(ctx, staged, o.Body, Staging{Progress: func(text string) { o.tell("%s", text) }})
	if err == nil {
		o.next, err = s.acceptPrograms(staged, meta, o.Force)
	}
	if err == nil {
		err = s.programs.Keep(programsName, staged, o.next)
	}
	if err != nil {
		return errors.Join(err, s.programs.Discard(staged))
	}
	return nil
}

// acceptPrograms checks what an artifact says of itself, and all its digests.
func (s *Supervisor) acceptPrograms(staged string, meta artifact.Meta, force bool) (versions.Target, error) {
	target, err := versions.TargetOf(meta.Digest)
	if err != nil {
		return "", err
	}
	if !meta.Programs {
		return "", errors.New("it is no artifact of keelson programs")
	}
	if _, err := verify.Version(staged, meta.Digest); err != nil {
		return "", err
	}
	why, err := s.programs.Rejected(programsName, target)
	if err != nil {
		return "", err
	}
	if why != "" && !force {
		return "", fmt.Errorf("version %s failed before: %s; service swap -f tries it nevertheless", target, why)
	}
	return target, s.programs.Forgive(programsName, target)
}

// checkPrograms starts each new program once, and returns what they answer.
func (s *Supervisor) checkPrograms(ctx context.Context, o *programsOrder) ([]string, error) {
	out, err := s.options.Role(ctx, "check", string(o.next))
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}

// beginPrograms records the trial and puts the new version into use. On an error, the old one
// is in use.
func (s *Supervisor) beginPrograms(ctx context.Context, o *programsOrder) error {
	record := versions.Record{At: time.Now(), By: o.Peer}
	t := programs.Trial{Target: string(o.next), Old: string(o.old), Probation: cmp.Or(o.Probation, probationDefault)}
	err := s.ask(func() error {
		t.Services = s.runningServices()
		return s.obstacleToPrograms()
	})
	if err == nil {
		err = s.programs.Begin(programsName, o.next, true, nil, record)
	}
	if err == nil {
		err = programs.WriteTrial(s.programsState(), t)
	}
	if err == nil {
		_, err = s.options.Role(ctx, "try", string(o.next))
	}
	if err == nil {
		return nil
	}
	return errors.Join(err,
		programs.EndTrial(s.programsState(), programs.Outcome{Target: t.Target, Old: t.Old, Reason: err.Error()}),
		s.persist(programsName, func() error { return s.programs.Abort(programsName, "") }))
}

func (s *Supervisor) obstacleToPrograms() error {
	if s.stopping {
		return errors.New("the system is shutting down")
	}
	return nil
}

// runningServices returns the processes of services that run.
func (s *Supervisor) runningServices() map[string]int {
	found := map[string]int{}
	for _, name := range s.services.names {
		if svc := s.services.byName[name]; svc.state == machine.Running && svc.pid != 0 {
			found[name] = svc.pid
		}
	}
	return found
}

// killContainerd kills containerd, for PID 1 to start the new one. The trial fails if that is
// not possible.
func (s *Supervisor) killContainerd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	tasks, err := s.connection.Get(ctx)
	if err == nil {
		err = tasks.KillDaemon()
	} else {
		err = s.options.KillStarting()
	}
	if err != nil {
		s.options.Logger.Error("cannot end containerd for the new programs", "error", err)
	}
}

// end makes the process end, without stopping services. err is nil if it did as ordered.
func (s *Supervisor) end(err error) {
	s.endOnce.Do(func() {
		s.endErr = err
		s.recordSupervisor("ending", "for another supervisor, which continues")
		close(s.replaced)
	})
}

// Replaced is closed when another supervisor is to continue: the process must end without
// stopping the services. ReplacedWhy says why then.
func (s *Supervisor) Replaced() <-chan struct{} { return s.replaced }

// ReplacedWhy returns why the supervisor gives up, or nil if it did as ordered. It is valid
// once Replaced is closed.
func (s *Supervisor) ReplacedWhy() error { return s.endErr }

func (s *Supervisor) programsState() string { return filepath.Join(s.options.StateDir, programsName) }
