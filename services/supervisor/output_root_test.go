package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/logs"
	"keelson/runtime/logs/logstest"
	"keelson/runtime/logs/reader"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

// A logging daemon receives the streams of a service, their end, and the streams of the
// next life of the service. The end of the supervisor changes nothing.
func TestLoggingDaemon(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		daemon := logstest.Start(t, logs.ExternalSocket, logs.QuerySocket)
		// It has printed by the time it is ready.
		s := newSystem(t, map[string]string{"web": "trap 'exit 0' TERM; echo up; echo bad >&2; touch /tmp/printed; while :; do sleep 0.05; done"},
			map[string]string{"keelson.ready": "exec:/bin/busybox test -e /tmp/printed"})
		s.until("web", "running", running)
		if err := s.supervisor.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.supervisor.Wait()
		s.supervise()
		s.until("web", "running", running)
		s.ask(control.Restart, "web")
		if got := daemon.Ended(t, "web", 1); len(got) == 0 || got[0] != "bad" {
			t.Errorf("stderr at the daemon: %q", got)
		}
		s.ask(control.Stop, "web")
		// The second may have been stopped before it printed.
		if got := slices.Compact(daemon.Ended(t, "web.out", 2)); !slices.Equal(got, []string{"up"}) {
			t.Errorf("stdout at the daemon: %q", got)
		}
		if _, err := os.Stat("/var/log/web.log"); err == nil {
			t.Error("there is a file as well")
		}
	})
}

// No line of a log is lost, torn or doubled, however often the supervisor is killed and the
// log is rotated.
func TestLogOutlivesSupervisors(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const lines = 20000
		s := newSystem(t, map[string]string{
			"chatty": fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); done; printf 'last words'; sleep 0.2; exit 0", lines),
		}, map[string]string{"keelson.log.size": "1MiB"})
		for range 5 {
			s.until("chatty", "there", func(control.Service) bool { return true })
			_ = s.supervisor.Process.Kill()
			_ = s.supervisor.Wait()
			s.supervise()
		}
		s.until("chatty", "exited", func(v control.Service) bool { return v.State == "exited" })
		want := 0
		for line := range strings.Lines(logOf(t, "chatty.out.log")) {
			if line == "last words" {
				break
			}
			if line != fmt.Sprintf("%d\n", want) {
				t.Fatalf("line %q where %d was due", line, want)
			}
			want++
		}
		if want != lines {
			t.Errorf("%d of %d lines, last words missing", want, lines)
		}
		// Each line has a time, whichever supervisor copied it.
		last := time.Time{}
		for e, err := range (reader.Set{Folders: []string{"/var/log"}}).Read(t.Context(), reader.Options{Names: []string{"chatty"}}) {
			if err != nil || e.Bound || e.Time.Before(last) || e.Time.After(time.Now()) {
				t.Fatalf("line %q: %v; time %v (bound %v) after %v", e.Text, err, e.Time, e.Bound, last)
			}
			last = e.Time
			want--
		}
		if want != -1 {
			t.Errorf("%d lines of %d are not read by time", want+1, lines)
		}
	})
}
