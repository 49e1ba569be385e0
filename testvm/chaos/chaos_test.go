package chaos

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

var (
	seed     = flag.Uint64("chaos.seed", 0, "of the faults; 0: by chance")
	onHost   = flag.Int("chaos.faults", 300, "how many on this kernel")
	onGuest  = flag.Int("chaos.machine-faults", 30, "how many in a machine")
	parallel = flag.Int("chaos.systems", 3, "how many systems share those on this kernel")
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", strconv.Itoa(max(*parallel, 1))) // They are more than processors.
	os.Exit(nstest.Main(m))
}

// Times of the test, on this kernel.
const (
	settleEvery = 25              // faults, at most
	settleTime  = 2 * time.Minute // one that hangs is given time, too
	settlePoll  = 50 * time.Millisecond
	shortWait   = 40 * time.Millisecond // at most, between two faults,
	longWait    = time.Second           // or sometimes this
)

// By this PID 1's garbage is collected so often that none of it is taken for
// growth. Its children do not inherit it.
const collect, collectOften = "GOGC", "10"

// run is one run of the test.
type run struct {
	system
	rng       *rand.Rand
	faults    []fault
	clock     bool                   // is the system's own
	work      sync.WaitGroup         // what faults have begun
	hung      atomic.Pointer[string] // an order without an answer
	bundles   sync.Mutex             // one is changed at a time
	limits    sync.Mutex             // likewise
	variables map[string]string
	history   []string
}

// TestHost does it on this kernel, in several systems: much of the time they
// wait for PID 1's back-off.
func TestHost(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "cpio", "cpio")
	tier.Tool(t, "nsenter", "util-linux")
	if *onHost == 0 {
		t.Skip("no faults are wanted")
	}
	out := buildImage(t, false)
	t.Setenv(collect, collectOften)
	first, begin := cmp.Or(*seed, rand.Uint64()), time.Now()
	t.Run("systems", func(t *testing.T) {
		for i := range *parallel {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				r := &run{system: bootHost(t, out.Initrd), faults: faults}
				r.chaos(t, first+uint64(i), (*onHost+i) / *parallel, "SYSTEMS=1 MACHINE_FAULTS=0 FAULTS")
			})
		}
	})
	t.Logf("%d faults in %v, seeds from %d", *onHost, time.Since(begin).Round(time.Second), first)
}

// TestMachine does it on a kernel of its own.
func TestMachine(t *testing.T) {
	tier.VM(t)
	if *onGuest == 0 {
		t.Skip("no faults are wanted")
	}
	s := bootMachine(t, buildImage(t, true))
	r := &run{system: s, faults: append(faults[:len(faults):len(faults)], clockJumps), clock: true}
	r.chaos(t, cmp.Or(*seed, rand.Uint64()), *onGuest, "FAULTS=0 MACHINE_FAULTS")
}

// chaos lets faults strike a system, and looks at what becomes of it. again is
// how `make chaos` is told to repeat as many.
func (r *run) chaos(t *testing.T, seed uint64, count int, again string) {
	r.rng, r.variables = rand.New(rand.NewPCG(seed, 0)), map[string]string{}
	failed := func(problem string) {
		t.Helper()
		t.Fatalf("%s\nafter %d faults, the last of which were\n%s\nonce more: make chaos SEED=%d %s=%d", problem,
			len(r.history), strings.Join(r.history[max(0, len(r.history)-30):], "\n"), seed, again, count)
	}
	r.prepare(t)
	before, problem := r.look()
	if problem != "" {
		failed(problem)
	}
	client := newClient(t, r.system)
	begin, told := time.Now(), 0
	for len(r.history) < count {
		if problem := cmp.Or(r.round(count, client), r.touched(before.redis)); problem != "" {
			failed(problem)
		}
		if n := len(r.history); 5*n/count > told {
			told = 5 * n / count
			t.Logf("%d faults in %v", n, time.Since(begin).Round(time.Second))
		}
	}
	if r.clock {
		r.setClock(time.Now().AddDate(1, 0, 0))
	}
	took := time.Since(begin)
	problem = cmp.Or(r.grows(min(max(count/300, 1), 30)), r.bundlesTaken(), r.told())
	after, different := r.compare(before)
	problem = cmp.Or(problem, different)
	if problem != "" {
		failed(problem)
	}
	writes, werr := client.end()
	lines, lerr := r.logged()
	if err := errors.Join(werr, lerr); err != nil {
		failed(err.Error())
	}
	t.Logf("seed %d: %d faults in %v, %d writes, %d log lines; before %v, after %v", seed, count,
		took.Round(time.Second), writes, lines, before.usages, after)
	r.ends(t)
}

// round lets some faults strike and then has everything come to rest.
func (r *run) round(count int, client *client) (problem string) {
	for range 1 + r.rng.IntN(settleEvery) {
		if len(r.history) == count {
			break
		}
		f := choose(r.rng, r.faults)
		if what := f.strike(r); what != "" {
			r.history = append(r.history, f.name+": "+what)
		}
		if err := client.failed(); err != nil {
			return err.Error()
		}
		wait := shortWait
		if r.rng.IntN(8) == 0 {
			wait = longWait
		}
		time.Sleep(r.upTo(wait))
	}
	r.work.Wait()
	if what := r.hung.Load(); what != nil {
		return "no answer to service " + *what
	}
	return r.settle()
}
