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

	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
	"keelson/init/consoles"
	"keelson/init/pid1/environment"
	"keelson/init/pid1/handover"
	"keelson/init/pid1/keeper"
	"keelson/init/pid1/kernel"
	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/init/switchroot"
	"keelson/mounts"
	"keelson/runtime/console"
	"keelson/runtime/fault"
	"keelson/runtime/timeline"
	"keelson/runtime/version"
)

// pid1 is the first process's state, owned by the goroutine of Main; keepers,
// the reaper, the signal watch and the way up have goroutines of their own.
type pid1 struct {
	line    cmdline.Line
	console *console.Console
	log     *slog.Logger
	reaper  *reaper.Reaper
	signals *signals
	env     environment.Environment

	keepers  keeper.Set
	again    sync.Mutex         // held while PID 1 executes itself again
	handover *handover.Handover // for that, under the same lock; nil until it is needed

	mu    sync.Mutex
	state state

	resumed  bool  // this is another execution
	recalled error // and why it knows nothing, if so
}

// Exit statuses inside another system, in place of reboot(2). systemd-nspawn takes 133
// for a request to be started again.
const (
	codeDone   = 0
	codeFatal  = 1
	codeReboot = 133
)

// Main is the first process. On a machine it does not return; inside of another
// system it returns the exit code.
func Main() int {
	_ = kernel.RaiseLimits(false) // The runtime is lost without a file descriptor for its timers.
	kernel.StartThreads()
	p := &pid1{signals: newSignals(), log: slog.New(slog.DiscardHandler)}
	p.signals.listen()
	if handover.Inherited() {
		p.recall()
	}
	early := &buffer{}
	code := codeDone
	for !p.survive("main", func() { code = p.live(early) }) {
		<-time.After(restPause)
	}
	return code
}

// live is the whole life, from where the state says on.
func (p *pid1) live(early *buffer) (code int) {
	if p.summary().Phase == phaseStart {
		p.start(early)
	}
	p.attach(early)
	if p.summary().Phase == phaseSwitchroot {
		p.switchroot()
	}
	if p.summary().Phase == phaseUp {
		p.stayUp(p.upList())
	}
	next := p.signals.chosen
	if p.summary().Phase == phaseFatal {
		next = p.fatal
	}
	return p.down(next())
}

// start does what comes before there is a console. Whatever happens there, the
// next phase is another.
func (p *pid1) start(early *buffer) {
	early.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Kernel, Result: "keelson " + version.String()})
	var err error
	next := phaseUp
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("PID 1 panicked: %v", r)
			tellKernel(strings.Split(string(debug.Stack()), "\n"))
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
		list = p.insideList()
	}
	if err == nil || p.env.Machine { // There the list says what is wrong with /proc.
		err = step.Run(context.Background(), early, slog.New(slog.DiscardHandler), list)
	}
	if err != nil && p.env.Machine {
		_ = mounts.Apply(mounts.Core()) // A place for the record of the failure; more than that is not hoped for.
	}
}

// attach opens the consoles, which need /dev, tells what happened before, and
// starts what serves all through life.
func (p *pid1) attach(early *buffer) {
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
	if p.resumed {
		p.again.Lock() // Not yet another time.
		p.survive("taking over", p.takeOver)
		p.again.Unlock()
	} else if err := os.MkdirAll(stateDir, 0o755); err != nil {
		p.log.Error("no folder for the state", "error", err)
	}
	for _, e := range early.events {
		p.console.Event(e)
	}
	if err != nil {
		p.log.Error("going on without a command line", "error", err)
	}
	p.serve("signals", func() { p.signals.watch(func(s string) { p.log.Warn(s) }) })
	p.serve("reaper", func() { p.reaper.Run(context.Background()) })
}

// stayUp brings the system up by list and returns at the signal that ends it.
// What hangs on the way up, even in the kernel, does not keep it from going down.
func (p *pid1) stayUp(list []step.Step) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := p.serve("up", func() {
		p.walk(ctx, phaseUp, list)
	})
	<-p.signals.asked
	fault.Here("main")
	cancel()
	if !keeper.Within(done, roleGrace+2*keeper.KillGrace) {
		p.log.Error("going down although the way up has not ended")
	}
}

// walk does what is left of a phase's list. The state tells of each step, unless
// the phase is over: steps may have been left behind.
func (p *pid1) walk(ctx context.Context, phase string, list []step.Step) {
	began := p.summary()
	left := slices.Clone(began.left(list))
	for i := range left {
		name, do := key(left[i]), left[i].Do
		left[i].Do = func(ctx context.Context) (result string, err error) {
			p.begin(phase, name)
			defer func() {
				if r := recover(); r != nil {
					p.note(func(s *state) { s.Done = s.Done || s.Phase == phase && s.Step == name })
					p.panicked("step "+name, r, debug.Stack())
					err = fmt.Errorf("panic: %v", r)
				}
			}()
			fault.Here("step " + name)
			return do(ctx)
		}
	}
	_ = step.Run(ctx, p.console, p.log, left) // None of them is Fatal.
	p.begin(phase, listEnd)
}

// begin notes that a step has begun.
func (p *pid1) begin(phase, name string) {
	p.note(func(s *state) {
		if s.Phase == phase {
			s.Step, s.Done = name, false
		}
	})
}

// note changes the state.
func (p *pid1) note(change func(*state)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
}

// summary is the state now.
func (p *pid1) summary() state {
	kept := p.keepers.Pauses()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	s.Kept = kept
	return s
}

// fatal says that the system cannot boot and does what the kernel would in a
// panic: reboot at once, after a while, or stay for people to read.
func (p *pid1) fatal() action {
	if s := p.summary(); s.Step == "" { // It is told once.
		p.note(func(s *state) { s.Step = listEnd })
		p.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Fatal, Result: s.Fatal})
	}
	if !p.env.Machine {
		return halt
	}
	seconds := kernel.PanicTimeout()
	switch {
	case seconds < 0:
		return reboot
	case seconds == 0:
		p.log.Error("stopped: waiting to be halted, powered off or rebooted")
		<-p.signals.asked
		return p.signals.chosen()
	}
	p.log.Error("rebooting", "in", time.Duration(seconds)*time.Second)
	wait := time.NewTimer(time.Duration(seconds) * time.Second)
	defer wait.Stop()
	select {
	case <-wait.C:
		return reboot
	case <-p.signals.asked:
		return p.signals.chosen()
	}
}

// down shuts down. Inside of another system it returns the exit code.
func (p *pid1) down(a action) (code int) {
	if p.summary().Phase != phaseDown {
		p.note(func(s *state) { s.Phase, s.Step, s.Done = phaseDown, "", false })
		a, _ = p.signals.ask(a) // A signal changes nothing any more.
		p.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Shutdown, Result: a.name})
	}
	p.keepers.Close()
	_ = kernel.RaiseLimits(p.env.Machine) // Unmounting takes file descriptors.
	p.walk(context.Background(), phaseDown, p.downList())
	end := a
	if p.env.Machine && a == powerOff {
		reset, why := kernel.ResetForPowerOff(p.line)
		if why != "" {
			p.log.Warn(why)
		}
		if reset {
			end = reboot
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	_ = p.console.Close(ctx) // A stuck console must not keep the machine up.
	cancel()
	switch {
	case p.env.Machine:
		err := unix.Reboot(end.command)
		tellKernel([]string{fmt.Sprintf("cannot %s: %v", end.name, err)})
		select {} // There is nothing to go back to.
	case p.summary().Fatal != "":
		return codeFatal
	case a == reboot:
		return codeReboot
	}
	return codeDone
}

// tellKernel is for what can be told nowhere else: its log.
func tellKernel(lines []string) {
	for _, line := range lines {
		_ = os.WriteFile("/dev/kmsg", []byte("<26>keelson: "+line+"\n"), 0)
	}
}

// buffer keeps events until there is a place for them.
type buffer struct{ events []timeline.Event }

func (b *buffer) Event(e timeline.Event) { b.events = append(b.events, e) }
