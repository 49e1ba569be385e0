package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fault is a kind of fault.
type fault struct {
	name   string
	weight int               // frequency, relative to the others
	inject func(*run) string // returns what it hit; "" if there was nothing
}

var faults = []fault{
	{"supervisor is killed", 20, func(r *run) string { return r.kills(r.supervisor()) }},
	{"containerd is killed", 12, func(r *run) string { return r.kills(r.containerd()) }},
	{"both are killed", 6, func(r *run) string { return r.kills(append(r.containerd(), r.supervisor()...)) }},
	{"a shim is killed", 10, func(r *run) string { return r.kills(r.shim(r.any())) }},
	{"a runc is killed", 4, func(r *run) string { return r.kills(r.named("runc")) }},
	{"containerd is stopped for a while", 4, func(r *run) string { return r.pauses(r.containerd()) }},
	{"containerd hangs", 1, (*run).hang},
	{"supervisor is stopped for a while", 2, func(r *run) string { return r.pauses(r.supervisor()) }},
	{"a shim is stopped for a while", 2, func(r *run) string { return r.pauses(r.shim(r.any())) }},
	{"a service is killed", 15, (*run).killService},
	{"a service is restarted", 10, func(r *run) string { return r.order("restart", r.any()) }},
	{"a service is stopped", 8, func(r *run) string { return r.order("stop", r.any()) }},
	{"a service is started", 8, func(r *run) string { return r.order("start", r.any()) }},
	{"/run has no room", 3, func(r *run) string { return r.fill("/run") }},
	{"/run has no inodes", 2, (*run).fillInodes},
	{"/var has no room", 2, func(r *run) string { return r.fill("/var") }},
	{"a bundle is broken", 4, (*run).breakBundle},
	{"a bundle is changed", 3, (*run).changeBundle},
	{"a service is swapped", 6, func(r *run) string { return r.swap(false) }},
	{"a service is swapped for one that fails", 5, func(r *run) string { return r.swap(true) }},
	{"a service is rolled back", 5, (*run).rollBack},
	{"a service is removed", 3, (*run).remove},
	{"keelson's own programs are swapped", 4, (*run).swapPrograms},
	{"no more files can be opened", 4, (*run).exhaustFiles},
	{"PID 1 gets many signals", 3, (*run).flood},
	{"orphans are left to PID 1", 3, (*run).orphans},
}

// clockJumps is only for machines: namespaces share the host's clock.
var clockJumps = fault{"the clock jumps", 6, (*run).jump}

// choose returns a random fault, weighted.
func choose(rng *rand.Rand, faults []fault) fault {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	n := rng.IntN(total)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	panic("unreachable")
}

func (r *run) any() string { return r.anyOf(services) }

func (r *run) anyOf(list []string) string { return list[r.rng.IntN(len(list))] }

// upTo returns a random time, scaled by how slow the target is.
func (r *run) upTo(longest time.Duration) time.Duration {
	return time.Duration(r.rng.Int64N(int64(longest * r.slow())))
}

// inBackground runs a part of a fault while others are injected.
func (r *run) inBackground(f func()) { r.work.Go(f) }

func (r *run) kills(pids []int) string {
	if len(pids) == 0 {
		return ""
	}
	for _, pid := range pids {
		r.kill(pid, unix.SIGKILL)
	}
	return fmt.Sprint(pids)
}

func (r *run) killService() string {
	name := r.any()
	all, _ := r.processes()
	var pids []int
	for _, p := range all {
		if p.program() == "busybox" && slices.Contains(r.shim(name), p.parent) {
			pids = append(pids, p.pid)
		}
	}
	return r.kills(pids)
}

func (r *run) pauses(pids []int) string {
	if len(pids) == 0 {
		return ""
	}
	pause := r.upTo(300 * time.Millisecond)
	for _, pid := range pids {
		r.kill(pid, unix.SIGSTOP)
		r.inBackground(func() { time.Sleep(pause); r.kill(pid, unix.SIGCONT) })
	}
	return fmt.Sprint(pids, pause)
}

// hang stops containerd for good; the supervisor must detect it at the next call.
func (r *run) hang() string {
	pids := r.containerd()
	if len(pids) == 0 {
		return ""
	}
	for _, pid := range pids {
		r.kill(pid, unix.SIGSTOP)
	}
	r.order("restart", r.any())
	return fmt.Sprint(pids)
}

// order runs a command of service in the background. It may fail, but not hang.
func (r *run) order(args ...string) string {
	what := strings.Join(args, " ")
	r.inBackground(func() {
		if _, err := r.service(args...); errors.Is(err, context.DeadlineExceeded) {
			r.hung.Store(&what)
		}
	})
	return what
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// fill fills a file system for a while.
func (r *run) fill(dir string) string {
	pause := r.upTo(50 * time.Millisecond)
	r.inBackground(func() {
		_, _ = r.sh(`busybox dd if=/dev/zero of=$1 bs=64k; busybox dd if=/dev/zero of=$1 bs=1k oflag=append conv=notrunc
			busybox usleep $2; busybox rm -f $1`, path.Join(dir, "chaos"), micros(pause))
	})
	return fmt.Sprint(dir, " ", pause)
}

// fillInodes uses up the inodes of /run for a while; there is still free space.
func (r *run) fillInodes() string {
	pause := r.upTo(50 * time.Millisecond)
	r.inBackground(func() {
		_, _ = r.sh(`d=/run/chaos$$; i=0; busybox mkdir $d; while true >$d/$i; do i=$((i+1)); done
			busybox usleep $1; busybox rm -rf $d`, micros(pause))
	})
	return pause.String()
}

// withBundle changes the config.json of a service, calls after, and restores the file if
// undo is set. Only one bundle is changed at a time.
func (r *run) withBundle(name string, change func(good []byte) []byte, after func(), undo bool) string {
	file := path.Join("/containers/services", name, "config.json")
	r.bundles.Lock()
	good, err := r.readFile(file)
	if err == nil {
		err = r.writeFile(file, change(good))
	}
	r.inBackground(func() {
		defer r.bundles.Unlock()
		after()
		if undo && good != nil {
			_ = r.writeFile(file, good)
		}
	})
	if err != nil {
		return err.Error()
	}
	return name
}

// breakBundle truncates a bundle for a while and restarts its service meanwhile.
func (r *run) breakBundle() string {
	name, pause, part := r.any(), r.upTo(100*time.Millisecond), r.rng.Float64()
	return r.withBundle(name, func(good []byte) []byte { return good[:int(part*float64(len(good)))] }, func() {
		_, _ = r.service("restart", name)
		time.Sleep(pause)
	}, true)
}

// changed is the environment variable by which a changed bundle is recognised.
const changed = "CHAOS="

// changeBundle changes the environment in a bundle and restarts the service.
func (r *run) changeBundle() string {
	name, value := r.any(), changed+strconv.Itoa(r.rng.IntN(1e9))
	return r.withBundle(name, func(good []byte) []byte {
		text, err := setVariable(good, value)
		if err != nil {
			return good
		}
		r.variables[name] = value
		return text
	}, func() { _, _ = r.service("restart", name) }, false)
}

// setVariable replaces the variable of an earlier change in an OCI runtime spec.
func setVariable(config []byte, value string) ([]byte, error) {
	var spec map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&spec); err != nil {
		return nil, err
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no process in %s", config)
	}
	env, _ := process["env"].([]any)
	env = slices.DeleteFunc(env, func(v any) bool { return strings.HasPrefix(fmt.Sprint(v), changed) })
	process["env"] = append(env, value)
	return json.Marshal(spec)
}

// exhaustFiles prevents a process from opening files for a while. Only one process is
// affected at a time because the earlier limit is restored.
func (r *run) exhaustFiles() string {
	all := append(append(r.supervisor(), r.containerd()...), 1)
	all = append(all, r.shim(r.any())...)
	pid, pause := all[r.rng.IntN(len(all))], r.upTo(100*time.Millisecond)
	r.inBackground(func() {
		r.limits.Lock()
		defer r.limits.Unlock()
		_, _ = r.run("/usr/bin/testapp", "files", strconv.Itoa(pid), pause.String())
	})
	return fmt.Sprint(pid, pause)
}

// flood sends PID 1 signals that it must ignore.
func (r *run) flood() string {
	names := ""
	for _, s := range []syscall.Signal{unix.SIGCHLD, unix.SIGHUP, unix.SIGWINCH, unix.SIGPIPE, unix.SIGALRM} {
		names += fmt.Sprintf(" kill -%d 1;", int(s))
	}
	_, err := r.sh("i=0; while [ $i -lt 500 ]; do" + names + " i=$((i+1)); done")
	if err != nil {
		return err.Error()
	}
	return "2500"
}

func (r *run) orphans() string {
	if err := r.writeFile("/run/orphanage", []byte("50\n")); err != nil {
		return err.Error()
	}
	return "50"
}

// jump sets the clock forward or back, by seconds or by years.
func (r *run) jump() string {
	scale := []time.Duration{time.Second, time.Minute, time.Hour, 365 * 24 * time.Hour}[r.rng.IntN(4)]
	by := time.Duration(r.rng.Int64N(int64(20*scale))) - 10*scale
	return r.setClock(time.Now().Add(by))
}

func (r *run) setClock(to time.Time) string {
	if _, err := r.sh("busybox date -s @$1", strconv.FormatInt(to.Unix(), 10)); err != nil {
		return err.Error()
	}
	return to.UTC().Format(time.DateTime)
}
