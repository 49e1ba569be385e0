package pid1

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"keelson/init/covered"
	"keelson/init/initrd"
	"keelson/init/pid1/handover"
	"keelson/init/reaper"
	"keelson/init/step"
)

// recall goes on with what an earlier incarnation has handed over. Without that
// it goes by the processes it finds.
func (p *pid1) recall() {
	var s state
	received, err := handover.Load()
	if err == nil {
		s, err = decode(received)
	}
	if err != nil {
		s = guess()
	}
	p.state, p.place, p.resumed, p.recalled = s, s.place(), true, err
	if a, ok := actionNamed(s.Action); ok {
		p.signals.ask(a)
	}
}

// guess is a state for a program that finds itself executed again and knows
// nothing. Then the system is up, or about to be.
func guess() state {
	s := state{Phase: phaseUp, Step: listEnd, Kept: map[string]time.Duration{}, Begun: []string{roleBoot, roleLate}}
	where, _ := look()
	where.unknown = true
	s.setPlace(where)
	s.Children = ownChildren("/proc", os.Getpid())
	if where.machine && initrd.Here() {
		s.Phase, s.Step = phaseLead, ""
		return s
	}
	has := func(name string) bool {
		return slices.ContainsFunc(s.Children, func(k reaper.Known) bool { return k.Name == name })
	}
	switch {
	case has(roleBoot):
		s.Step = stepBoot
	case has(roleLate):
		s.Step = stepLate
	case has(roleFiles):
		s.Step, s.Covered = stepFiles, covered.Folders()
	}
	if !has(roleBoot) && !has(roleFiles) || has(nameSupervisor) {
		s.Kept[nameSupervisor] = 0
	}
	wanted, _ := containerdWanted()
	waits := has(roleFiles) || has(roleBoot) && containerdConfigured()
	if has(nameContainerd) || wanted && !waits {
		s.Kept[nameContainerd] = 0
	}
	return s
}

// roles and daemons by their arguments.
var childNames = map[string]string{
	initPath + " " + roleBoot: roleBoot, initPath + " " + roleLate: roleLate, initPath + " " + roleDown: roleDown, initPath + " " + roleRoot: roleRoot,
	initPath + " " + roleFiles: roleFiles,
	containerdPath:             nameContainerd, supervisorPath + " containerd": nameContainerd, supervisorPath + " supervise": nameSupervisor,
}

// ownChildren are those of a process that PID 1 would have started.
func ownChildren(proc string, self int) (found []reaper.Known) {
	parents, _ := processes()
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
		case len(args) > 2 && args[0] == initPath && args[1] == roleFiles:
			args = args[:2]
		}
		if name := childNames[strings.Join(args, " ")]; name != "" {
			found = append(found, reaper.Known{Name: name, Pid: pid})
		}
	}
	return found
}

// takeOver makes the children ours that an earlier incarnation has left, and says
// so.
func (p *pid1) takeOver() {
	for _, m := range p.state.Unsaid {
		p.console.Put(m)
	}
	p.state.Unsaid = nil
	p.reaper.Remember(p.state.Begun)
	var kept []string
	for _, k := range p.state.Children {
		if _, err := p.reaper.Adopt(k); err != nil {
			p.log.Error("a program was lost", "error", err)
			continue
		}
		kept = append(kept, k.Name)
	}
	args := []any{"phase", p.state.Phase, "keeps", strings.Join(kept, ",")}
	if p.recalled != nil {
		args = append(args, "without what it knew", p.recalled)
	}
	p.log.Warn("PID 1 has executed itself again and goes on", args...)
	for name, pause := range p.state.Kept {
		k := p.newKeeper(name)
		k.pause.pause.Store(int64(pause))
		k.once = p.state.Phase == phaseDown
		k.process = p.running(name)
		if k.process != nil || !k.once {
			p.keepers.add(k)
		}
	}
}

// running is a child of an earlier incarnation.
func (p *pid1) running(name string) process {
	child := p.reaper.Named(name)
	switch {
	case child == nil:
		return nil
	case name == nameContainerd:
		return &daemon{Child: child, log: containerdLog}
	}
	return child
}

// listEnd stands for the step behind the last one.
const listEnd = "end"

func key(s step.Step) string { return strings.TrimSpace(s.Stage + " " + s.Name) }

// left is what is to be done of a list.
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
