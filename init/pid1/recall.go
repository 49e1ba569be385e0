package pid1

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"keelson/init/covered"
	"keelson/init/pid1/environment"
	"keelson/init/pid1/handover"
	"keelson/init/pid1/keeper"
	"keelson/init/reaper"
	"keelson/init/role"
	"keelson/init/step"
	"keelson/init/switchroot"
)

// recall restores the state from the handover. If that cannot be read it derives the
// state from the processes that run.
func (p *pid1) recall() {
	var s state
	received, err := handover.Load()
	if err == nil {
		s, err = decode(received)
	}
	if err != nil {
		s = guess()
	}
	p.state, p.env, p.resumed, p.recalled = s, s.Env, true, err
	if a, ok := actionNamed(s.Action); ok {
		p.signals.ask(a)
	}
}

// guess derives a state from the processes that run. The system is then up, or about
// to be.
func guess() state {
	s := state{Phase: phaseUp, Step: listEnd, Kept: map[string]time.Duration{}, Begun: []string{role.Boot, role.Late}}
	s.Env, _ = environment.Detect()
	s.Env.BeforeUnknown = !s.Env.Machine
	s.Children = ownChildren("/proc", os.Getpid())
	if s.Env.Machine && switchroot.Needed() {
		s.Phase, s.Step = phaseSwitchroot, ""
		return s
	}
	has := func(name string) bool {
		return slices.ContainsFunc(s.Children, func(k reaper.Known) bool { return k.Name == name })
	}
	switch {
	case has(role.Boot):
		s.Step = stepBoot
	case has(role.Late):
		s.Step = stepLate
	case has(role.Files):
		s.Step, s.Covered = stepFiles, covered.Folders()
	}
	if !has(role.Boot) && !has(role.Files) || has(nameSupervisor) {
		s.Kept[nameSupervisor] = 0
	}
	wanted, _ := containerdWanted()
	waits := has(role.Files) || has(role.Boot) && containerdConfigured()
	if has(nameContainerd) || wanted && !waits {
		s.Kept[nameContainerd] = 0
	}
	return s
}

// childNames are the names of roles and daemons by their arguments.
var childNames = map[string]string{
	role.Init + " " + role.Boot: role.Boot, role.Init + " " + role.Late: role.Late, role.Init + " " + role.Shutdown: role.Shutdown, role.Init + " " + role.Root: role.Root,
	role.Init + " " + role.Files: role.Files,
	containerdPath:               nameContainerd, supervisorPath + " containerd": nameContainerd, supervisorPath + " supervise": nameSupervisor,
}

// ownChildren lists the children of process self that PID 1 starts.
func ownChildren(proc string, self int) (found []reaper.Known) {
	parents, _ := environment.Parents()
	for pid, parent := range parents {
		if parent != self {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("%s/%d/cmdline", proc, pid))
		if err != nil {
			continue
		}
		args := strings.Fields(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		switch { // They may have more arguments.
		case len(args) > 2 && args[0] == containerdPath:
			args = args[:1]
		case len(args) > 2 && args[0] == role.Init && args[1] == role.Files:
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
	for _, m := range p.state.Unsaid {
		p.console.Put(m)
	}
	p.state.Unsaid = nil
	p.reaper.Remember(p.state.Begun)
	var kept []string
	for _, k := range p.state.Children {
		if _, err := p.reaper.Adopt(k); err != nil {
			p.log.Error("a program from before the re-execution is gone", "error", err)
			continue
		}
		kept = append(kept, k.Name)
	}
	args := []any{"phase", p.state.Phase, "children", strings.Join(kept, ",")}
	if p.recalled != nil {
		args = append(args, "state", "lost", "error", p.recalled)
	}
	p.log.Warn("PID 1 has re-executed itself and continues", args...)
	for name, pause := range p.state.Kept {
		k := p.newKeeper(name)
		running, once := p.running(name), p.state.Phase == phaseDown
		k.Resume(running, pause, once)
		if running != nil || !once {
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
		return &daemon{child, &keeper.Log{Path: containerdLog}}
	}
	return child
}

// listEnd stands for the end of a list.
const listEnd = "end"

func key(s step.Step) string { return strings.TrimSpace(s.Stage + " " + s.Name) }

// left returns the steps of a list that are still to be done.
func (s *state) left(list []step.Step) []step.Step {
	if s.Step == "" {
		return list
	}
	for i := range list {
		if key(list[i]) == s.Step {
			if s.Done {
				i++
			}
			return list[i:]
		}
	}
	return nil
}
