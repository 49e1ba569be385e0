package pid1

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"keelson/init/consoles"
	"keelson/init/pid1/environment"
	"keelson/init/pid1/handover"
	"keelson/init/pid1/keeper"
	"keelson/init/pid1/kernel"
	"keelson/init/pid1/trial"
	"keelson/init/pid1/watchdog"
	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/init/switchroot"
	"keelson/mounts"
	"keelson/runtime/cmdline"
	"keelson/runtime/console"
	"keelson/runtime/fault"
	"keelson/runtime/fdstore"
	"keelson/runtime/paths"
	"keelson/runtime/timeline"
	"keelson/runtime/version"
)

// pid1 is the first process. The goroutine of Main owns it; keepers, the reaper, the
// signal watch and the boot list have goroutines of their own.
type pid1 struct {
	line    cmdline.Line
	console *console.Console
	log     *slog.Logger
	reaper  *reaper.Reaper
	signals *signals
	env     environment.Environment

	keepers     keeper.Set
	reexecuting sync.Mutex         // held while PID 1 re-executes itself
	handover    *handover.Handover // guarded by reexecuting; nil until it is needed
	trial       *trial.Watch       // nil until there is a console
	watchdog    *watchdog.Watchdog // nil in userspace mode, and before a switch of the root
	mu          sync.Mutex
	state       state
	descriptors *fdstore.Pair // nil until the supervisor is started

	resumed   bool  // PID 1 has re-executed itself
	recallErr error // why its state could not be read, or nil
}

// Exit statuses in userspace mode, in place of reboot(2). systemd-nspawn restarts a
// container that exits with 133.
const (
	codeDone   = 0
	codeFatal  = 1
	codeReboot = 133
)

// Main runs PID 1. On a machine it does not return; in userspace mode it returns the
// exit status.
func Main() int {
	kernel.EnoughFiles() // The Go runtime needs a file descriptor for its timers.
	kernel.StartThreads()
	p := &pid1{signals: newSignals(), log: slog.New(slog.DiscardHandler)}
	p.signals.listen()
	if handover.Inherited() {
		_ = kernel.AllowHugePages()
		p.recall()
	}
	early := &eventBuffer{}
	code := codeDone
	for !p.survive("main", func() { code = p.runPhases(early) }) {
		<-time.After(panicPause)
	}
	return code
}

// runPhases runs the phases, starting with the current one.
func (p *pid1) runPhases(early *eventBuffer) (code int) {
	if p.summary().Phase == phaseStart {
		p.start(early)
	}
	p.attach(early)
	if p.summary().Phase == phaseSwitchroot {
		p.switchroot()
	}
	if p.summary().Phase == phaseUp {
		p.stayUp(p.bootList())
	}
	next := p.signals.chosen
	if p.summary().Phase == phaseFatal {
		next = p.fatal
	}
	return p.shutdown(next())
}

// start runs the steps that come before the console. It always ends in another phase,
// also after a panic.
func (p *pid1) start(early *eventBuffer) {
	early.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Kernel, Result: "keelson " + version.String()})
	var err error
	next := phaseUp
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("PID 1 panicked: %v", r)
			kernel.Log(strings.Split(string(debug.Stack()), "\n"))
		}
		p.note(func(s *state) {
			s.Phase = next
			if err != nil {
				s.Phase, s.Fatal = phaseFatal, err.Error()
			}
			s.Env = p.env
		})
	}()
	p.env, err = environment.Detect()
	list := p.earlyList(early)
	switch {
	case p.env.Machine && switchroot.Needed():
		next, list = phaseSwitchroot, switchrootList(early)
	case !p.env.Machine:
		list = p.userspaceList()
	}
	if err == nil || p.env.Machine { // On a machine, a step of the list reports that /proc is missing.
		err = step.Run(context.Background(), early, slog.New(slog.DiscardHandler), list)
	}
	if err != nil && p.env.Machine {
		_ = mounts.Apply(mounts.Core()) // So that the failure can be recorded; further errors are ignored.
	}
}

// attach opens the consoles, which need /dev, logs the events so far, and starts the
// reaper and the signal watch.
func (p *pid1) attach(early *eventBuffer) {
	if p.reaper != nil {
		return
	}
	line, err := cmdline.Read(p.env.Environment)
	p.line = line
	options := consoles.Options(line, p.env.Environment)
	options.Panicked = p.panicked
	p.console = console.New(options)
	p.log = p.console.Logger()
	p.reaper = reaper.New(p.log)
	p.trial = p.newTrialWatch()
	if p.resumed {
		p.reexecuting.Lock() // A panic here must not lead to another re-execution.
		p.survive("taking over", p.takeOver)
		p.reexecuting.Unlock()
	} else if err := os.MkdirAll(paths.State, 0o755); err != nil {
		p.log.Error("cannot make the folder of the state", "error", err)
	}
	for _, e := range early.events {
		p.console.Event(e)
	}
	if err != nil {
		p.log.Error("the boot continues without the kernel command line", "error", err)
	}
	p.serve("signals", func() { p.signals.watch(func(s string) { p.log.Warn(s) }) })
	p.serve("reaper", func() { p.reaper.Run(context.Background()) })
	if p.env.Machine && p.summary().Phase != phaseSwitchroot { // The next /init opens the watchdog.
		p.watchdog = watchdog.New(watchdog.System{Line: p.line, Log: p.log, Event: p.console.Event, Resumed: p.resumed, Supervised: func() bool {
			return p.summary().Phase == phaseUp && p.keepers.Get(nameSupervisor) != nil
		}})
		p.serve("watchdog", p.watchdog.Run)
	}
}

// stayUp boots the system with list and returns when a shutdown is requested. A step
// that hangs, even in the kernel, does not prevent the shutdown.
func (p *pid1) stayUp(list []step.Step) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := p.serve("up", func() { p.walk(ctx, phaseUp, list) })
	<-p.signals.requested
	fault.Here("main")
	cancel()
	if !keeper.Within(done, roleGrace+2*keeper.KillGrace) {
		p.log.Error("shutting down although the boot has not ended")
	}
}

// walk runs the remaining steps of a phase's list and records each step in the state.
// An abandoned step that still runs after its phase records nothing.
func (p *pid1) walk(ctx context.Context, phase string, list []step.Step) {
	s := p.summary()
	remaining := slices.Clone(s.remaining(list))
	for i := range remaining {
		name, do := key(remaining[i]), remaining[i].Do
		remaining[i].Do = func(ctx context.Context) (result string, err error) {
			p.begin(phase, name)
			defer func() {
				if r := recover(); r != nil {
					p.note(func(s *state) { s.LastStepDone = s.LastStepDone || s.Phase == phase && s.LastStep == name })
					p.panicked("step "+name, r, debug.Stack())
					err = fmt.Errorf("panic: %v", r)
				}
			}()
			fault.Here("step " + name)
			return do(ctx)
		}
	}
	_ = step.Run(ctx, p.console, p.log, remaining) // No step is Fatal.
	p.begin(phase, listEnd)
}

// begin records that a step has started.
func (p *pid1) begin(phase, name string) {
	p.note(func(s *state) {
		if s.Phase == phase {
			s.LastStep, s.LastStepDone = name, false
		}
	})
}

// note changes the state.
func (p *pid1) note(change func(*state)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
}

// summary returns a copy of the state.
func (p *pid1) summary() state {
	daemons := p.keepers.Pauses()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	s.Daemons = daemons
	if p.trial != nil {
		s.Trial = p.trial.Known()
	}
	return s
}

// eventBuffer keeps events until there is a console.
type eventBuffer struct{ events []timeline.Event }

func (b *eventBuffer) Event(e timeline.Event) { b.events = append(b.events, e) }
