package chaos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settle starts all services that exist and waits until the system is as it should be.
func (r *run) settle() (problem string) {
	limit := time.Now().Add(settleTime * min(r.slow(), 4))
	for time.Now().Before(limit) {
		if store, err := r.store(); err != nil {
			problem = fmt.Sprintf("cannot read the store: %v", err)
		} else if _, err := r.service(append([]string{"start"}, present(store)...)...); err != nil {
			problem = fmt.Sprintf("service start: %v", err)
		} else if problem = r.unsettled(); problem == "" {
			return ""
		}
		time.Sleep(settlePoll * r.slow())
	}
	return problem
}

// unsettled returns how the system differs from what it should be.
func (r *run) unsettled() string {
	store, err := r.store()
	if err != nil {
		return err.Error()
	}
	wanted := append(append([]string{"redis"}, present(store)...), r.extra()...)
	states := r.list()
	if !slices.Equal(slices.Sorted(maps.Keys(states)), slices.Sorted(slices.Values(wanted))) {
		return fmt.Sprintf("services %v", states)
	}
	for name, s := range states {
		if s.State != "running" {
			return fmt.Sprintf("%s is %+v", name, s)
		}
	}
	all, err := r.processes()
	if err != nil {
		return err.Error()
	}
	known, core, rest := map[string]int{}, []int{1}, []process{}
	for _, p := range all {
		switch program := p.program(); {
		case program == "service" && p.has("supervise"), program == "containerd", program == "containerd-shim-runc-v2":
			known[program]++
			core = append(core, p.pid)
		case program == "redis-server", program == "busybox":
			known[program]++
		default:
			rest = append(rest, p)
		}
	}
	one := known["service"] == 1 && known["containerd"] == 1 && known["redis-server"] == 1
	if !one || known["containerd-shim-runc-v2"] != len(wanted) || len(rest) > 0 {
		return fmt.Sprintf("there are processes %v and %v", known, rest)
	}
	if problem := r.wrongCore(core); problem != "" {
		return problem
	}
	return r.notAsStored(store, states)
}

// wrongCore returns how the cgroup with protected memory differs from the processes that belong in it. In
// userspace mode there is none.
func (r *run) wrongCore(want []int) string {
	if len(r.extra()) == 0 {
		return ""
	}
	text, err := r.readFile("/sys/fs/cgroup/keelson.core/cgroup.procs")
	if err != nil {
		return err.Error()
	}
	var got []int
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return err.Error()
		}
		got = append(got, pid)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Sprintf("the cgroup of the core has the processes %v, want %v", got, want)
	}
	return ""
}

// snapshot is the state of a system that must be the same at the end.
type snapshot struct {
	redis  state
	traces []string
	usages map[string]usage
}

// snapshot waits until the system has recovered and takes a snapshot.
func (r *run) snapshot() (s snapshot, problem string) {
	if problem := r.settle(); problem != "" {
		return s, problem
	}
	var terr, uerr error
	s.redis = r.list()["redis"]
	s.traces, terr = r.traces()
	s.usages, uerr = r.usages()
	if err := errors.Join(terr, uerr); err != nil {
		return s, err.Error()
	}
	return s, ""
}

// redisChanged returns a problem if redis is not the same process as before.
func (r *run) redisChanged(before state) string {
	if now := r.list()["redis"]; now != before {
		return fmt.Sprintf("redis was %+v and is %+v", before, now)
	}
	return ""
}

// compare returns what differs from a snapshot. The usage of supervisor and containerd
// cannot be compared because they are new processes.
func (r *run) compare(before snapshot) (after map[string]usage, problem string) {
	now, problem := r.snapshot()
	if problem != "" {
		return nil, problem
	}
	delete(before.usages, "supervisor")
	delete(before.usages, "containerd")
	return now.usages, cmp.Or(grown(before.usages, now.usages), diff(before.traces, now.traces))
}

// wrongAge returns a problem if the start of redis that service list shows does not agree
// with the clock as it is set now.
func (r *run) wrongAge() string {
	out, err := r.service("list", "--json")
	var all []struct {
		Name  string    `json:"name"`
		Since time.Time `json:"since"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &all)
	}
	clock, cerr := r.run("/bin/busybox", "date", "+%s")
	up, uerr := r.readFile("/proc/uptime")
	if err := errors.Join(err, cerr, uerr); err != nil {
		return err.Error()
	}
	now, _ := strconv.ParseInt(strings.TrimSpace(clock), 10, 64)
	booted, _ := strconv.ParseFloat(strings.Fields(string(up))[0], 64)
	for _, s := range all {
		if age := now + 1 - s.Since.Unix(); s.Name == "redis" && (age < 0 || age > int64(booted)+2) {
			return fmt.Sprintf("service list says that redis runs since %v; it is %v, and the system has been up for %v s", s.Since, time.Unix(now, 0), booted)
		}
	}
	return ""
}

// usage is the resources of a process that must not grow.
type usage struct {
	files  int
	memory int // KiB, anonymous
}

// usages returns the usage of the processes that keep running while services come and go.
func (r *run) usages() (map[string]usage, error) {
	found := map[string]usage{}
	for name, pids := range map[string][]int{
		"PID 1": {1}, "supervisor": r.supervisor(), "containerd": r.containerd(), "redis's shim": r.shim("redis"),
	} {
		if len(pids) != 1 {
			return nil, fmt.Errorf("there are %d processes of %s, want 1: %v", len(pids), name, pids)
		}
		files, err := descriptors(r.run("/bin/busybox", "ls", "-l", fmt.Sprintf("/proc/%d/fd", pids[0])))
		if err != nil {
			return nil, err
		}
		if name == "redis's shim" { // It opens one for each containerd; its garbage collector closes them later.
			files = strings.ReplaceAll(files, "[pidfd]\n", "")
		}
		status, err := r.readFile(fmt.Sprintf("/proc/%d/status", pids[0]))
		if err != nil {
			return nil, err
		}
		found[name] = usage{files: strings.Count(files, "\n"), memory: field(string(status), "RssAnon:")}
	}
	return found, nil
}

// descriptors returns what ls -l lists of a process's descriptors. A descriptor that is closed
// meanwhile makes ls fail after it has listed the others.
func descriptors(listed string, err error) (string, error) {
	if err != nil && listed != "" && strings.Contains(err.Error(), ": No such file or directory") {
		err = nil
	}
	return listed, err
}

// field returns the number in a line "NAME VALUE …".
func field(text, name string) (value int) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			value, _ = strconv.Atoi(f[1])
		}
	}
	return value
}

// slack is how much a process may grow, in KiB: garbage is not collected immediately, and
// heaps become fragmented. PID 1 reaches its maximum, 1 MiB more, after some thousand
// restarts.
var slack = map[string]int{"PID 1": 2 << 10, "supervisor": 4 << 10, "containerd": 12 << 10, "redis's shim": 2 << 10}

// fileSlack is the number of additional open files, for pools of connections and the like. A
// stream that is written for the first time opens its log and the index.
const fileSlack = 4

func grown(before, after map[string]usage) string {
	var all []string
	for name, b := range before {
		if a := after[name]; a.files > b.files+fileSlack || a.memory > b.memory+slack[name] {
			all = append(all, fmt.Sprintf("%s was %+v and is %+v", name, b, a))
		}
	}
	return strings.Join(all, "; ")
}

// restartAll restarts the services of faults several times, without faults.
func (r *run) restartAll(rounds int) error {
	for range rounds {
		if _, err := r.service(append([]string{"restart"}, services...)...); err != nil {
			return err
		}
	}
	return nil
}

// restartsGrow restarts services in two series and returns a problem if a process grows in
// the second. In the first, processes allocate what they keep.
func (r *run) restartsGrow(rounds int) (problem string) {
	var before map[string]usage
	for i := range 2 {
		if err := r.restartAll(rounds); err != nil {
			return err.Error()
		}
		if problem := r.settle(); problem != "" {
			return problem
		}
		now, err := r.usages()
		if err != nil {
			return err.Error()
		}
		if i == 1 {
			return grown(before, now)
		}
		before = now
	}
	return ""
}

// bundlesUsed returns a problem if a service of the image does not have the environment of
// its bundle.
func (r *run) bundlesUsed() (problem string) {
	states := r.list()
	store, err := r.store()
	if err != nil {
		return err.Error()
	}
	for name, value := range r.variables {
		if current := store[name].current; current != "" && current != "image" {
			continue
		}
		env, err := r.readFile(fmt.Sprintf("/proc/%d/environ", states[name].PID))
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), value) {
			return fmt.Sprintf("the environment of %s is %q, want %s, %v", name, env, value, err)
		}
	}
	return ""
}
