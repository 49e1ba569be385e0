package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// At the end of a machine, containers are not removed: their logs are complete nevertheless,
// and poststop hooks run. If the machine does not end, since somebody has only ended the
// supervisor, the next one can start the services again.
func TestEndOfMachine(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const lines = 5000
		s := prepareSystem(t)
		t.Setenv(machineEnv, "1")
		s.add("chatty", fmt.Sprintf("trap 'seq %d; printf last; exit 0' TERM; echo up; while :; do sleep 0.05; done", lines), nil)
		s.add("web", "echo process >>/run/order; exec sleep 1000", nil)
		s.change("web", `{`, `{"hooks":{"poststop":[{"path":"/bin/sh","args":["sh","-c","echo poststop >>/run/order"]}]},`)
		s.change("web", `{"destination":"/proc"`, `{"destination":"/run","type":"bind","source":"/run","options":["rbind"]},{"destination":"/proc"`)
		s.begin()
		s.untilLog("chatty.out.log", "up\n")
		s.untilHooks("process")
		s.end()
		if order := s.hooksRun(); !slices.Equal(order, []string{"process", "poststop"}) {
			t.Errorf("%v ran, want the process and its hook", order)
		}
		text, err := os.ReadFile("/var/log/chatty.out.log")
		want := "up\n"
		for i := range lines {
			want += fmt.Sprintln(i + 1)
		}
		if want += "last"; err != nil || string(text) != want {
			t.Errorf("the log has %d bytes, want %d; %v", len(text), len(want), err)
		}
		task := func(name string) error {
			_, err := os.Stat(filepath.Join("/run/containerd/io.containerd.runtime.v2.task/services.linuxkit", name))
			return err
		}
		if task("chatty") != nil || task("web") == nil {
			t.Errorf("tasks at the end: %v and %v, want only the first", task("chatty"), task("web"))
		}
		s.supervise()
		for _, name := range []string{"chatty", "web"} {
			s.until(name, "known", func(control.Service) bool { return true })
			if r := s.ask(control.Start, name); r.Code != 0 {
				t.Errorf("start of %s: %+v", name, r)
			}
			s.until(name, "running", running)
		}
		if r := s.ask(control.Stop, "chatty"); r.Code != 0 || task("chatty") == nil {
			t.Errorf("stop: %+v, task: %v", r, task("chatty"))
		}
	})
}
