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
	"keelson/testvm/vm/vmtest"
)

var (
	seed     = flag.Uint64("chaos.seed", 0, "seed of the faults; 0: random")
	onHost   = flag.Int("chaos.faults", tier.Extent(75, 200), "number of faults on the host's kernel")
	onGuest  = flag.Int("chaos.machine-faults", tier.Extent(10, 20), "number of faults in a machine")
	parallel = flag.Int("chaos.systems", 3, "number of systems on the host's kernel that share the faults")
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", strconv.Itoa(max(*parallel, 1))) // The default is the number of processors.
	os.Exit(nstest.Main(withImages{m}))
}

// withImages runs tests that boot machines.
type withImages struct{ *testing.M }

func (m withImages) Run() int { return vmtest.Main(m.M) }

// Times of the test, on the host's kernel.
const (
	settleEvery = 25              // maximum number of faults between two checks
	settleTime  = 2 * time.Minute // long enough to detect a containerd that hangs
	settlePoll  = 50 * time.Millisecond
	shortWait   = 40 * time.Millisecond // maximum between two faults
	longWait    = time.Second           // maximum of one pause in eight
)

// This environment variable makes PID 1 collect its garbage so often that it is not
// mistaken for growth. Its children do not inherit the variable.
const collect, collectOften = "GOGC", "10"

// run is one run of the test.
type run struct {
	system
	rng       *rand.Rand
	faults    []fault
	clock     bool                   // the system has its own clock
	work      sync.WaitGroup         // faults that run in the background
	hung      atomic.Pointer[string] // a command of service that got no answer
	bundles   sync.Mutex             // held while a bundle is changed
	limits    sync.Mutex             // held while a limit of open files is lowered
	variables map[string]string
	history   []string
}

// TestHost breaks several systems on the host's kernel at the same time, because each
// mostly waits for PID 1's back-off.
func TestHost(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "cpio", "cpio")
	tier.Tool(t, "nsenter", "util-linux")
	if *onHost == 0 {
		t.Skip("-chaos.faults is 0")
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

// TestMachine breaks a system in a machine.
func TestMachine(t *testing.T) {
	tier.VM(t)
	if *onGuest == 0 {
		t.Skip("-chaos.machine-faults is 0")
	}
	s := bootMachine(t, buildImage(t, true))
	r := &run{system: s, faults: append(faults[:len(faults):len(faults)], clockJumps), clock: true}
	r.chaos(t, cmp.Or(*seed, rand.Uint64()), *onGuest, "FAULTS=0 MACHINE_FAULTS")
}

// chaos injects faults into a system and checks it. repeat are the variables of `make
// chaos` by which a failure can be repeated.
func (r *run) chaos(t *testing.T, seed uint64, count int, repeat string) {
	r.rng, r.variables = rand.New(rand.NewPCG(seed, 0)), map[string]string{}
	failed := func(problem string) {
		t.Helper()
		t.Fatalf("%s\nafter %d faults, the last of which were\n%s\nrepeat with: make chaos SEED=%d %s=%d", problem,
			len(r.history), strings.Join(r.history[max(0, len(r.history)-30):], "\n"), seed, repeat, count)
	}
	r.prepare(t)
	before, problem := r.snapshot()
	if problem != "" {
		failed(problem)
	}
	client := newClient(t, r.system)
	begin, logged := time.Now(), 0
	if r.clock { // For systems on the host's kernel, services/supervisor tests that.
		if problem := cmp.Or(r.tour(), r.redisChanged(before.redis)); problem != "" {
			failed(problem)
		}
	}
	for len(r.history) < count {
		if problem := cmp.Or(r.round(count, client), r.redisChanged(before.redis)); problem != "" {
			failed(problem)
		}
		if n := len(r.history); 5*n/count > logged {
			logged = 5 * n / count
			t.Logf("%d faults in %v", n, time.Since(begin).Round(time.Second))
		}
	}
	if r.clock {
		r.setClock(time.Now().AddDate(1, 0, 0))
	}
	took := time.Since(begin)
	problem = cmp.Or(r.bringBack(), r.restartsGrow(min(max(count/300, 1), 30)), r.bundlesUsed(), r.wrongAge())
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
	r.powerOff(t)
}

// round injects some faults and then waits until the system has recovered.
func (r *run) round(count int, client *client) (problem string) {
	for range 1 + r.rng.IntN(settleEvery) {
		if len(r.history) == count {
			break
		}
		f := choose(r.rng, r.faults)
		if what := f.inject(r); what != "" {
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
