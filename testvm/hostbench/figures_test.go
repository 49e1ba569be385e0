package hostbench

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
)

var output = flag.String("hostbench.figures", "", "folder for host.json; empty: do not measure")

// row is the cost of a number of services. Memory is PSS.
type row struct {
	Services   int     `json:"services"`
	Up         float64 `json:"up_s"`    // from the supervisor's start to ready
	Ready      float64 `json:"ready_s"` // from /init's start to ready
	Work       float64 `json:"work_s"`  // processor time until ready
	PID1       int     `json:"pid1_kib"`
	Supervisor int     `json:"supervisor_kib"`
	Containerd int     `json:"containerd_kib"`
	Shim       int     `json:"shim_kib"` // mean of all
	Woken      int     `json:"woken"`    // wake-ups of PID 1 and supervisor while idle
	Down       float64 `json:"down_s"`   // from the signal to the end
}

// figures are the contents of host.json.
type figures struct {
	Rows     []row     `json:"rows"`
	Restarts []float64 `json:"restarts_ms"` // from a first crash to the service's next run
}

func TestFigures(t *testing.T) {
	if *output == "" {
		t.Skip("-hostbench.figures is not set; make bench sets it")
	}
	var f figures
	for _, n := range []int{1, 10, 100} {
		f.Rows = append(f.Rows, measure(t, n))
	}
	f.Restarts = crashes(t, 21)
	f.write(t, os.Stdout)
}

func measure(t *testing.T, count int) row {
	t.Helper()
	s := boot(t, count)
	ready := s.Stage(timeline.Ready, timeline.Degraded)
	if ready.Stage != timeline.Ready {
		t.Fatalf("got %v", ready)
	}
	r := row{Services: count, Work: s.work().Seconds()}
	events := s.events()
	for _, e := range events {
		if e.Stage == timeline.Containerd {
			r.Up = (ready.At - e.At + e.Took).Seconds() // The supervisor first waits for containerd.
		}
	}
	r.Ready = (ready.At - events[0].At).Seconds()
	for _, n := range s.idleWakeUps() {
		r.Woken += n
	}
	for _, p := range s.processes() {
		pss := number(t, proc(p.pid, "smaps_rollup"), "Pss:")
		switch p.program() {
		case "init":
			r.PID1 += pss
		case "service":
			r.Supervisor += pss
		case "containerd":
			r.Containerd += pss
		case "containerd-shim-runc-v2":
			r.Shim += pss
		}
	}
	r.Shim /= count
	begin := time.Now()
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	r.Down = time.Since(begin).Seconds()
	return r
}

// crashes kills each of count services once, one after the other, and returns the times in
// milliseconds after which they ran again.
func crashes(t *testing.T, count int) (took []float64) {
	t.Helper()
	s := boot(t, count)
	s.Stage(timeline.Ready)
	for _, p := range s.processes() {
		if p.program() != "sleep" {
			continue
		}
		before := len(s.runs())
		begin := now(t)
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(time.Minute)
		for len(s.runs()) == before {
			if time.Now().After(deadline) {
				t.Fatalf("a service that was killed does not restart: process %d", p.pid)
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, (s.runs()[before].At-begin).Seconds()*1e3)
	}
	if len(took) != count {
		t.Fatalf("%d of %d services were killed", len(took), count)
	}
	slices.Sort(took)
	return took
}

// runs returns the starts of services so far.
func (s *system) runs() (all []timeline.Event) {
	for _, e := range s.events() {
		if e.Stage == timeline.Service && e.Result == "running" {
			all = append(all, e)
		}
	}
	return all
}

func (f figures) write(t *testing.T, w io.Writer) {
	t.Helper()
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "services\tall up\t/init to ready\tprocessor time\tdown\tPID 1\tsupervisor\tcontainerd\teach shim\twake-ups in 10 s\t")
	mib := func(kib int) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }
	for _, r := range f.Rows {
		fmt.Fprintf(tab, "%d\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%s\t%s\t%s\t%s\t%d\t\n", r.Services, r.Up, r.Ready, r.Work, r.Down,
			mib(r.PID1), mib(r.Supervisor), mib(r.Containerd), mib(r.Shim), r.Woken)
	}
	_ = tab.Flush()
	n := len(f.Restarts)
	fmt.Fprintf(w, "Running again after a first crash: median %.0f ms, least %.0f ms, most %.0f ms of %d.\n",
		f.Restarts[n/2], f.Restarts[0], f.Restarts[n-1], n)
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(*output, "host.json")
	if err := os.MkdirAll(*output, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "Written to %s.\n", path)
}
