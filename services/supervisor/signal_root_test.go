package supervisor

import (
	"testing"
	"time"

	"keelson/runtime/procfs"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

// The first process of a PID namespace does not receive a signal for which it has no
// handler. The supervisor does not wait for the stop timeout then, nor for its children.
func TestStopWithoutHandler(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{
			"alone":  "exec sleep 1000",
			"parent": "sleep 1000; echo cleaned up",
			"zombie": "sleep 0.01 & exec sleep 1000",
		}, map[string]string{"keelson.stop.timeout": "5m"})
		for _, name := range []string{"alone", "parent", "zombie"} {
			s.until(name, "running", running)
		}
		// The shells have executed sleep.
		waitForChild(t, s.ask(control.List, "parent").Services[0].PID)
		waitForZombie(t, s.ask(control.List, "zombie").Services[0].PID)
		begin := time.Now()
		s.ask(control.Stop, "alone", "parent", "zombie")
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("the stop took %v", took)
		}
		if v := s.ask(control.List, "parent").Services[0]; v.LastExit != "exited 0" {
			t.Errorf("the parent: %+v", v)
		}
		s.untilLog("parent.out.log", "cleaned up\n")
	})
}

func waitForChild(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(procfs.Descendants("/proc", pid)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the script has no child")
		}
	}
}

func waitForZombie(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if below := procfs.Descendants("/proc", pid); len(below) > 0 && procfs.Ended("/proc", below[0]) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the program has no zombie")
		}
	}
}

// A stop at any instant of a start does not make the next start fail.
func TestStopDuringAStart(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"web": "trap '' TERM; while :; do sleep 0.05; done"},
			map[string]string{"keelson.stop.timeout": "20ms"})
		s.until("web", "running", running)
		for i := range 15 {
			s.ask(control.Stop, "web")
			started := make(chan struct{})
			go func() {
				defer close(started)
				_, _ = control.Unix(testSocket).Call(t.Context(), control.Request{Verb: control.Start, Names: []string{"web"}})
			}()
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			if r := s.ask(control.Stop, "web"); r.Code != 0 {
				t.Errorf("stop %d: %+v", i, r)
			}
			<-started
			if r := s.ask(control.Start, "web"); r.Code != 0 {
				t.Fatalf("start after stop %d: %+v", i, r)
			}
		}
	})
}
