package pid1

import (
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/covered"
	"keelson/init/pid1/containerd"
	"keelson/init/pid1/environment"
	"keelson/init/pid1/handover"
	"keelson/init/pid1/keeper"
	"keelson/init/reaper"
	"keelson/init/role"
	"keelson/init/step"
	"keelson/init/switchroot"
	"keelson/runtime/fdstore"
	"keelson/runtime/paths"
	"keelson/runtime/procfs"
)

// recall restores the state from the handover. If the handover cannot be read, it
// derives the state from the running processes.
func (p *pid1) recall() {
	var s state
	received, err := handover.Load()
	if err == nil {
		s, err = decode(received)
	}
	if err != nil {
		s = guess()
	}
	// What the previous program left open is not for children, also if the handover is lost.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if s.Descriptors != nil {
		p.descriptors, _ = fdstore.Reopen(s.Descriptors) // Without it, the supervisor gets another one.
	}
	p.state, p.env, p.resumed, p.recallErr = s, s.Env, true, err
	if a, ok := actionNamed(s.Action); ok {
		p.signals.request(a)
	}
}

// guess derives a state from the running processes. It assumes that the system is
// booting or up.
func guess() state {
	s := state{Phase: phaseUp, LastStep: listEnd, Daemons: map[string]time.Duration{}, Started: []string{role.Boot, role.Late}}
	s.Env, _ = environment.Detect()
	s.Env.BeforeUnknown = !s.Env.Machine
	s.Children = ownChildren("/proc", os.Getpid())
	if s.Env.Machine && switchroot.Needed() {
		s.Phase, s.LastStep = phaseSwitchroot, ""
		return s
	}
	has := func(name string) bool {
		return slices.ContainsFunc(s.Children, func(k reaper.Known) bool { return k.Name == name })
	}
	switch {
	case has(role.Boot):
		s.LastStep = stepBoot
	case has(role.Late):
		s.LastStep = stepLate
	case has(role.Files):
		s.LastStep, s.Covered = stepFiles, covered.Folders()
	}
	if !has(role.Boot) && !has(role.Files) || has(nameSupervisor) {
		s.Daemons[nameSupervisor] = 0
	}
	wanted, _ := containerd.Wanted()
	waits := has(role.Files) || has(role.Boot) && containerd.Configured()
	if has(nameContainerd) || wanted && !waits {
		s.Daemons[nameContainerd] = 0
	}
	return s
}

// childNames maps the arguments of roles and daemons to their names.
var childNames = map[string]string{
	role.Init + " " + role.Boot: role.Boot, role.Init + " " + role.Late: role.Late, role.Init + " " + role.Shutdown: role.Shutdown, role.Init + " " + role.Root: role.Root,
	role.Init + " " + role.Files: role.Files, role.Init + " " + role.Programs: role.Programs,
	paths.Containerd: nameContainerd, paths.Service + " containerd": nameContainerd, paths.Service + " supervise": nameSupervisor,
}

// ownChildren lists those children of process self that are roles or daemons.
func ownChildren(proc string, self int) (found []reaper.Known) {
	parents, _ := environment.Parents()
	for pid, parent := range parents {
		if parent != self {
			continue
		}
		args, err := procfs.ReadArgs(proc, pid)
		if err != nil {
			continue
		}
		switch { // Some have more arguments.
		case len(args) > 2 && args[0] == paths.Containerd:
			args = args[:1]
		case len(args) > 2 && args[0] == role.Init && (args[1] == role.Files || args[1] == role.Programs):
			args = args[:2]
		}
		if name := childNames[strings.Join(args, " ")]; name != "" {
			found = append(found, reaper.Known{Name: name, Pid: pid})
		}
	}
	return found
}

// takeOver takes over the children from before the re-execution and logs that.
func (p *pid1) takeOver() {
	for _, m := range p.state.Unwritten {
		p.console.Put(m)
	}
	p.state.Unwritten = nil
	p.reaper.Remember(p.state.Started)
	var adopted []string
	for _, k := range p.state.Children {
		if _, err := p.reaper.Adopt(k); err != nil {
			p.log.Error("a program from before the re-execution is gone", "error", err)
			continue
		}
		adopted = append(adopted, k.Name)
	}
	args := []any{"phase", p.state.Phase, "children", strings.Join(adopted, ",")}
	if p.recallErr != nil {
		args = append(args, "state", "lost", "error", p.recallErr)
	}
	p.log.Warn("PID 1 has re-executed itself and continues", args...)
	p.trial.Resume()
	for name, pause := range p.state.Daemons {
		k := p.newKeeper(name)
		running, noRestart := p.running(name), p.state.Phase == phaseDown
		k.Resume(running, pause, noRestart)
		if running != nil || !noRestart {
			p.keepers.Add(k)
		}
	}
}

// running returns a child from before the re-execution, or nil.
func (p *pid1) running(name string) keeper.Process {
	child := p.reaper.Named(name)
	switch {
	case child == nil:
		return nil
	case name == nameContainerd:
		return &daemon{child, &keeper.Log{Path: paths.ContainerdLog}}
	}
	return child
}

// listEnd is the LastStep of a list that has ended.
const listEnd = "end"

func key(s step.Step) string { return strings.TrimSpace(s.Stage + " " + s.Name) }

// remaining returns the steps of a list that are still to be run.
func (s *state) remaining(list []step.Step) []step.Step {
	if s.LastStep == "" {
		return list
	}
	for i := range list {
		if key(list[i]) == s.LastStep {
			if s.LastStepDone {
				i++
			}
			return list[i:]
		}
	}
	return nil
}
