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

// pid1 is the first process. The goroutine of Main owns it; keepers, the reaper, the
// signal watch and the way up have goroutines of their own.
type pid1 struct {
	line    cmdline.Line
	console *console.Console
	log     *slog.Logger
	reaper  *reaper.Reaper
	signals *signals
	env     environment.Environment

	keepers     keeper.Set
	reexecuting sync.Mutex         // held while PID 1 re-executes itself
	handover    *handover.Handover // for that, under the same lock; nil until it is needed

	mu    sync.Mutex
	state state

	resumed  bool  // PID 1 has re-executed itself
	recalled error // why its state could not be read, if so
}

// Exit statuses inside another system, in place of reboot(2). systemd-nspawn takes 133
// for a request to be started again.
const (
	codeDone   = 0
	codeFatal  = 1
	codeReboot = 133
)

// Main is the first process. On a machine it does not return; inside another system
// it returns the exit status.
func Main() int {
	_ = kernel.RaiseLimits(false) // The Go runtime needs a file descriptor for its timers.
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

// live goes through the phases, beginning with that of the state.
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

// start does what comes before there is a console. The next phase is another one in
// any case, also after a panic.
func (p *pid1) start(early *buffer) {
	early.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Kernel, Result: "keelson " + version.String()})
	var err error
	next := phaseUp
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("PID 1 panicked: %v", r)
			logToKernel(strings.Split(string(debug.Stack()), "\n"))
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
	if err == nil || p.env.Machine { // On a machine a step of the list reports what is wrong with /proc.
		err = step.Run(context.Background(), early, slog.New(slog.DiscardHandler), list)
	}
	if err != nil && p.env.Machine {
		_ = mounts.Apply(mounts.Core()) // For the record of the failure; its own errors do not matter any more.
	}
}

// attach opens the consoles, which need /dev, logs the events so far, and starts the
// reaper and the signal watch.
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
		p.reexecuting.Lock() // A panic here must not lead to another re-execution.
		p.survive("taking over", p.takeOver)
		p.reexecuting.Unlock()
	} else if err := os.MkdirAll(stateDir, 0o755); err != nil {
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
}

// stayUp brings the system up by list and returns at the signal that ends it.
// A step that hangs, even in the kernel, does not keep the system from going down.
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
		p.log.Error("shutting down although the boot has not ended")
	}
}

// walk does what is left of a phase's list, and notes each step in the state, unless
// the phase is over: abandoned steps may still run.
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

// summary returns a copy of the state.
func (p *pid1) summary() state {
	kept := p.keepers.Pauses()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	s.Kept = kept
	return s
}

// fatal reports that the system cannot boot and does what the kernel does in a panic:
// reboot immediately, after panic= seconds, or not at all.
func (p *pid1) fatal() action {
	if s := p.summary(); s.Step == "" { // It is logged once.
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

// down shuts down. Inside another system it returns the exit status.
func (p *pid1) down(a action) (code int) {
	if p.summary().Phase != phaseDown {
		p.note(func(s *state) { s.Phase, s.Step, s.Done = phaseDown, "", false })
		a, _ = p.signals.ask(a) // Later signals change nothing.
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
		logToKernel([]string{fmt.Sprintf("cannot %s: %v", end.name, err)})
		select {} // PID 1 must not end.
	case p.summary().Fatal != "":
		return codeFatal
	case a == reboot:
		return codeReboot
	}
	return codeDone
}

// logToKernel writes lines to the kernel log when there is no console.
func logToKernel(lines []string) {
	for _, line := range lines {
		_ = os.WriteFile("/dev/kmsg", []byte("<26>keelson: "+line+"\n"), 0)
	}
}

// buffer keeps events until there is a console.
type buffer struct{ events []timeline.Event }

func (b *buffer) Event(e timeline.Event) { b.events = append(b.events, e) }
