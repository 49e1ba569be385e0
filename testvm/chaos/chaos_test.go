package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/nstest"
)

var (
	seed  = flag.Uint64("chaos.seed", 0, "of the faults; 0: by chance")
	count = flag.Int("chaos.faults", 0, "how many; 0: the test is skipped")
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// Times of the test.
const (
	settleEvery = 25 // faults, at most
	settleTime  = 60 * time.Second
	longestWait = 40 * time.Millisecond // between two faults
)

// run is one run of the test.
type run struct {
	*system
	rng     *rand.Rand
	work    sync.WaitGroup // what faults have begun
	bundles sync.Mutex     // one is broken at a time
	history []string
}

func (r *run) later(d time.Duration, f func()) {
	r.work.Go(func() { time.Sleep(d); f() })
}

func TestChaos(t *testing.T) {
	if *count == 0 {
		t.Skip("make chaos runs it")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	begin := time.Now()
	r := &run{system: boot(t), rng: rand.New(rand.NewPCG(*seed, 0))}
	client := newClient(t, r.system)
	redis := r.list()["redis"]
	before := r.measure()
	failed := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("-chaos.seed=%d: after %d faults: %s\n%s", *seed, len(r.history), fmt.Sprintf(format, args...),
			strings.Join(r.history[max(0, len(r.history)-30):], "\n"))
	}
	for left := *count; left > 0; {
		for range min(left, 1+r.rng.IntN(settleEvery)) {
			f := choose(r.rng)
			if what := f.strike(r); what != "" {
				r.history = append(r.history, f.name+": "+what)
				left--
			}
			if err := client.failed(); err != nil {
				failed("%v", err)
			}
			time.Sleep(time.Duration(r.rng.Int64N(int64(longestWait))))
		}
		r.work.Wait()
		if problem := r.settle(); problem != "" {
			failed("%s", problem)
		}
		if now := r.list()["redis"]; now.PID != redis.PID || now.Restarts != 0 {
			failed("redis was %+v and is %+v", redis, now)
		}
	}
	writes, err := client.end()
	if err != nil {
		failed("%v", err)
	}
	if after := r.measure(); after.worseThan(before) {
		failed("PID 1 grew: it was %+v and is %+v", before, after)
	}
	lines, problem := r.logged()
	if problem != "" {
		failed("%s", problem)
	}
	t.Logf("%d faults in %v (seed %d): %d writes, %d log lines", len(r.history), time.Since(begin).Round(time.Second), *seed, writes, lines)
	// The way down is as ever.
	r.Signal(unix.SIGUSR2)
	if code := r.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// settle starts everything and waits until all is as it should be.
func (r *run) settle() (problem string) {
	all := append([]string{"start"}, services...)
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := r.service(all...); err != nil {
			problem = fmt.Sprintf("service start: %v", err)
			continue
		}
		if problem = r.unsettled(); problem == "" {
			return ""
		}
	}
	return problem
}

// unsettled says what is not as it should be.
func (r *run) unsettled() string {
	states := r.list()
	if len(states) != len(services)+1 {
		return fmt.Sprintf("services %v", states)
	}
	for name, s := range states {
		if s.State != "running" {
			return fmt.Sprintf("%s is %+v", name, s)
		}
	}
	known := map[string]int{}
	var rest []string
	for _, p := range r.processes() {
		switch program := programOf(p); {
		case program == "service" && slices.Contains(p.args, "supervise"), program == "containerd":
			known[program]++
		case program == "containerd-shim-runc-v2":
			known["shim"]++
		case program == "redis-server", program == "busybox":
			known[program]++
		default:
			rest = append(rest, fmt.Sprint(p))
		}
	}
	if known["service"] != 1 || known["containerd"] != 1 || known["shim"] != len(states) || known["redis-server"] != 1 || len(rest) > 0 {
		return fmt.Sprintf("processes %v and %v", known, rest)
	}
	return ""
}

func programOf(p process) string {
	if len(p.args) == 0 {
		return ""
	}
	program := filepath.Base(p.args[0])
	if strings.HasPrefix(program, "redis-server") { // It changes its title.
		return "redis-server"
	}
	if program == "sleep" || program == "usleep" {
		return "busybox"
	}
	return program
}

// measured is what must not grow.
type measured struct {
	descriptors int
	memory      int // KiB of anonymous memory
}

func (r *run) measure() (m measured) {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.pid))
	m.descriptors = len(fds)
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			m.memory, _ = strconv.Atoi(f[1])
		}
	}
	return m
}

// worseThan allows for what a garbage collector leaves for later.
func (m measured) worseThan(before measured) bool {
	return m.descriptors > before.descriptors || m.memory > before.memory+8<<10
}

// logged checks the lines of count: those of each of its lives have numbers
// from 0 on, each once.
func (r *run) logged() (lines int, problem string) {
	next := map[string]int{}
	for _, name := range []string{"count.out.log.1", "count.out.log"} {
		text, err := os.ReadFile(filepath.Join(r.Root, "var/log", name))
		if err != nil && name == "count.out.log" {
			return 0, err.Error()
		}
		for line := range strings.Lines(string(text)) {
			life, number, found := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if !found || number != strconv.Itoa(next[life]) {
				return lines, fmt.Sprintf("%s: line %d is %q, number %d was to come", name, lines+1, line, next[life])
			}
			next[life]++
			lines++
		}
	}
	return lines, ""
}
