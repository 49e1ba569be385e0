package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
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
	"keelson/services/versions"
)

const (
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
	cmd := exec.CommandContext(ctx, "/init", append([]string{Name}, args...)...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", errors.New(cmp.Or(strings.TrimSpace(strings.TrimPrefix(errs.String(), "init: ")), err.Error()))
	}
	return strings.TrimSpace(out.String()), nil
}

// order is a swap of keelson's own programs that a client has ordered.
type order struct {
	control.Request
	tell func(format string, args ...any)
	next versions.Target
	old  versions.Target
}

// Order carries out Swap and Rollback of keelson's own programs, in the goroutine of
// the client, up to the point where the supervisor ends and the one among the new programs
// continues (trial.go).
func (u *Upgrade) Order(ctx context.Context, r control.Request) control.Response {
	if len(r.Names) != 0 || r.Verb != control.Swap && r.Verb != control.Rollback || r.Probation < 0 || r.Probation > probationMax {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot %s programs: name no service, and a probation of at most %v", r.Verb, probationMax)}
	}
	o := &order{Request: r, tell: func(format string, args ...any) { r.Progress(fmt.Sprintf(format, args...)) }}
	u.recordOrder(r, nil)
	response, err := u.replace(ctx, o)
	if err != nil {
		u.recordOrder(r, err)
		response.Code, response.Error = control.CodeFailed, fmt.Sprintf("cannot %s the programs: %v", r.Verb, err)
	}
	return response
}

func (u *Upgrade) replace(ctx context.Context, o *order) (response control.Response, err error) {
	if err := u.host.Reserve(func() { u.busy.Store(true) }); err != nil {
		return response, err
	}
	ended := false
	defer func() {
		if !ended {
			u.busy.Store(false)
		}
	}()
	if err := u.choose(ctx, o); err != nil {
		return response, err
	}
	answers, err := u.check(ctx, o)
	if err == nil && o.Plan {
		response.Plan = append([]string{fmt.Sprintf("%s is replaced by %s", o.old, o.next)}, answers...)
	}
	if err != nil || o.Plan {
		return response, errors.Join(err, u.store.RemoveUnused(Name, o.next))
	}
	for _, line := range answers {
		o.tell("%s", line)
	}
	if err := u.begin(ctx, o); err != nil {
		return response, errors.Join(err, u.store.RemoveUnused(Name, o.next))
	}
	ended = true
	o.tell("%s is on trial in place of %s; containerd and the supervisor are started anew", o.next, o.old)
	u.event("trial", o.next, fmt.Sprintf("swapping %s for %s, ordered by %s", o.old, o.next, cmp.Or(o.Peer, "nobody known")), 0)
	if err := u.host.KillContainerd(ctx); err != nil { // The trial fails.
		u.Logger.Error("cannot end containerd for the new programs", "error", err)
	}
	u.host.End(nil)
	<-ctx.Done() // The process ends before.
	return response, nil
}

// choose finds the new version, after it has read it if it is an artifact, and asks
// the policy.
func (u *Upgrade) choose(ctx context.Context, o *order) error {
	state, err := u.store.Read(Name)
	if err != nil {
		return err
	}
	o.old = state.Current
	if o.Verb == control.Rollback {
		if o.next = state.Previous; o.next == "" {
			return errors.New("they have no previous version")
		}
	} else if err := u.receive(ctx, o); err != nil {
		return err
	}
	if o.next == o.old {
		return fmt.Errorf("%s is current", o.next)
	}
	var signatures []string
	if o.next.IsVersion() {
		meta, err := u.store.Meta(Name, o.next)
		if err != nil {
			return err
		}
		signatures = meta.Signatures
	}
	policy, err := swappolicy.Load(u.Policy)
	if err == nil {
		err = policy.CheckPrograms(swappolicy.Verb(o.Verb), o.next.Digest(), signatures)
	}
	if err != nil {
		return errors.Join(err, u.store.RemoveUnused(Name, o.next))
	}
	return nil
}

// receive reads an artifact and stores it as a version.
func (u *Upgrade) receive(ctx context.Context, o *order) error {
	staged, err := u.store.Stage(Name)
	if err != nil {
		return err
	}
	meta, err := u.Stage(ctx, staged, o.Body, func(text string) { o.tell("%s", text) })
	if err == nil {
		o.next, err = u.accept(staged, meta, o.Force)
	}
	if err == nil {
		err = u.store.Keep(Name, staged, o.next)
	}
	if err != nil {
		return errors.Join(err, u.store.Discard(staged))
	}
	return nil
}

// accept checks what an artifact says of itself, and all its digests.
func (u *Upgrade) accept(staged string, meta artifact.Meta, force bool) (versions.Target, error) {
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
	why, err := u.store.Rejected(Name, target)
	if err != nil {
		return "", err
	}
	if why != "" && !force {
		return "", fmt.Errorf("version %s failed before: %s; service swap -f tries it nevertheless", target, why)
	}
	return target, u.store.Forgive(Name, target)
}

// check starts each new program once, and returns what they answer.
func (u *Upgrade) check(ctx context.Context, o *order) ([]string, error) {
	out, err := u.Role(ctx, "check", string(o.next))
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}

// begin records the trial and puts the new version into use. On an error, the old one
// is in use.
func (u *Upgrade) begin(ctx context.Context, o *order) error {
	record := versions.Record{At: time.Now(), By: o.Peer}
	t := programs.Trial{Target: string(o.next), Old: string(o.old), Probation: cmp.Or(o.Probation, probationDefault)}
	var err error
	if t.Services, err = u.host.Running(); err == nil {
		err = u.store.Begin(Name, o.next, true, nil, record)
	}
	if err == nil {
		err = programs.WriteTrial(u.State, t)
	}
	if err == nil {
		_, err = u.Role(ctx, "try", string(o.next))
	}
	if err == nil {
		return nil
	}
	return errors.Join(err,
		programs.EndTrial(u.State, programs.Outcome{Target: t.Target, Old: t.Old, Reason: err.Error()}),
		u.host.Persist(func() error { return u.store.Abort(Name, "") }))
}

// recordOrder records that an upgrade was ordered, or why it was refused.
func (u *Upgrade) recordOrder(r control.Request, refusal error) {
	if !r.Plan {
		u.Emit(events.Ordered(events.Programs, "", r.Verb, r.Peer, refusal))
	}
}
