package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fault is one kind of misfortune.
type fault struct {
	name   string
	weight int               // how often, against the others
	strike func(*run) string // what it hit, empty: there was nothing
}

var faults = []fault{
	{"supervisor is killed", 20, func(r *run) string { return r.kill(r.supervisor()) }},
	{"containerd is killed", 12, func(r *run) string { return r.kill(r.containerd()) }},
	{"both are killed", 6, func(r *run) string { return r.kill(append(r.containerd(), r.supervisor()...)) }},
	{"containerd is stopped for a while", 4, (*run).pauseContainerd},
	{"a shim is killed", 10, func(r *run) string { return r.kill(r.shim(r.any())) }},
	{"a service is killed", 15, (*run).killService},
	{"a service is restarted", 10, func(r *run) string { return r.order("restart", r.any()) }},
	{"a service is stopped", 8, func(r *run) string { return r.order("stop", r.any()) }},
	{"a service is started", 8, func(r *run) string { return r.order("start", r.any()) }},
	{"/run is full", 3, func(r *run) string { return r.fill("/run") }},
	{"/var is full", 2, func(r *run) string { return r.fill("/var") }},
	{"a bundle is broken", 4, (*run).breakBundle},
	{"PID 1 gets many signals", 3, (*run).flood},
	{"orphans are left to PID 1", 3, (*run).orphans},
}

// choose takes one by weight.
func choose(rng *rand.Rand) fault {
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

func (r *run) any() string { return services[r.rng.IntN(len(services))] }

func (r *run) kill(pids []int) string {
	if len(pids) == 0 {
		return ""
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return fmt.Sprint(pids)
}

func (r *run) killService() string {
	name := r.any()
	shims := r.shim(name)
	var pids []int
	for _, p := range r.processes() {
		if len(shims) == 1 && p.parent == shims[0] && len(p.args) > 0 && filepath.Base(p.args[0]) == "busybox" {
			pids = append(pids, p.pid)
		}
	}
	return r.kill(pids)
}

func (r *run) pauseContainerd() string {
	pids := r.containerd()
	if len(pids) == 0 {
		return ""
	}
	pause := time.Duration(r.rng.IntN(300)) * time.Millisecond
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGSTOP)
		r.later(pause, func() { _ = unix.Kill(pid, unix.SIGCONT) })
	}
	return fmt.Sprint(pids, pause)
}

// order gives an order and does not wait for it.
func (r *run) order(verb, name string) string {
	r.work.Go(func() { _, _ = r.service(verb, name) })
	return verb + " " + name
}

// fill leaves no room in a file system for a while.
func (r *run) fill(dir string) string {
	path := filepath.Join(r.Root, dir, "chaos")
	f, err := os.Create(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	for size := int64(64 << 20); size >= 4096; {
		at, _ := f.Seek(0, 2)
		if unix.Fallocate(int(f.Fd()), 0, at, size) != nil {
			size /= 2
		}
	}
	r.later(time.Duration(r.rng.IntN(50))*time.Millisecond, func() { _ = os.Remove(path) })
	return dir
}

// breakBundle makes one unreadable for a while, in which it is started.
func (r *run) breakBundle() string {
	name := r.any()
	path := filepath.Join(r.tree, "containers/services", name, "config.json")
	r.bundles.Lock()
	good, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, good[:r.rng.IntN(len(good))], 0o644)
	}
	if err != nil {
		r.bundles.Unlock()
		return err.Error()
	}
	pause := time.Duration(r.rng.IntN(100)) * time.Millisecond
	r.work.Go(func() {
		defer r.bundles.Unlock()
		_, _ = r.service("restart", name)
		time.Sleep(pause)
		_ = os.WriteFile(path, good, 0o644)
	})
	return name
}

// flood sends signals that mean nothing to PID 1.
func (r *run) flood() string {
	for range 1000 {
		for _, s := range []syscall.Signal{unix.SIGCHLD, unix.SIGHUP, unix.SIGWINCH, unix.SIGPIPE} {
			_ = unix.Kill(r.pid, s)
		}
	}
	return "4000"
}

// orphans has 50 shells end before the one that each has started.
func (r *run) orphans() string {
	if err := r.inside("sh", "-c", "i=0; while [ $i -lt 50 ]; do (: & :) & i=$((i+1)); done"); err != nil {
		return err.Error()
	}
	return "50"
}

func chrootTo(dir string) *syscall.SysProcAttr { return &syscall.SysProcAttr{Chroot: dir} }
