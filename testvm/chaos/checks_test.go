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

// settle starts everything and waits until all is as it should be.
func (r *run) settle() (problem string) {
	limit := time.Now().Add(settleTime * min(r.slow(), 4))
	for time.Now().Before(limit) {
		if _, err := r.service(append([]string{"start"}, services...)...); err != nil {
			problem = fmt.Sprintf("service start: %v", err)
		} else if problem = r.unsettled(); problem == "" {
			return ""
		}
		time.Sleep(settlePoll * r.slow())
	}
	return problem
}

// unsettled says what is not as it should be.
func (r *run) unsettled() string {
	wanted := append(append([]string{"redis"}, services...), r.extra()...)
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
	known, rest := map[string]int{}, []process{}
	for _, p := range all {
		switch program := p.program(); {
		case program == "service" && p.has("supervise"), program == "containerd", program == "containerd-shim-runc-v2",
			program == "redis-server", program == "busybox":
			known[program]++
		default:
			rest = append(rest, p)
		}
	}
	one := known["service"] == 1 && known["containerd"] == 1 && known["redis-server"] == 1
	if !one || known["containerd-shim-runc-v2"] != len(wanted) || len(rest) > 0 {
		return fmt.Sprintf("processes %v and %v", known, rest)
	}
	return ""
}

// looks is what of a system is to be the same in the end.
type looks struct {
	redis  state
	traces []string
	usages map[string]usage
}

// look waits for the system to rest first.
func (r *run) look() (l looks, problem string) {
	if problem := r.settle(); problem != "" {
		return l, problem
	}
	var terr, uerr error
	l.redis = r.list()["redis"]
	l.traces, terr = r.traces()
	l.usages, uerr = r.usages()
	if err := errors.Join(terr, uerr); err != nil {
		return l, err.Error()
	}
	return l, ""
}

// touched tells whether redis is another than it was.
func (r *run) touched(before state) string {
	if now := r.list()["redis"]; now != before {
		return fmt.Sprintf("redis was %+v and is %+v", before, now)
	}
	return ""
}

// compare says what is not as before. Supervisor and containerd are others now.
func (r *run) compare(before looks) (after map[string]usage, problem string) {
	now, problem := r.look()
	if problem != "" {
		return nil, problem
	}
	delete(before.usages, "supervisor")
	delete(before.usages, "containerd")
	return now.usages, cmp.Or(grown(before.usages, now.usages), leftOver(before.traces, now.traces))
}

// told wants the time since which redis runs to be told by the clock as it is
// set now.
func (r *run) told() string {
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
			return fmt.Sprintf("redis is said to run since %v, it is %v, and the system has been up for %v s", s.Since, time.Unix(now, 0), booted)
		}
	}
	return ""
}

// usage is what must not grow.
type usage struct {
	files  int
	memory int // KiB, anonymous
}

// usages are those of the processes that live on while services come and go.
func (r *run) usages() (map[string]usage, error) {
	found := map[string]usage{}
	for name, pids := range map[string][]int{
		"PID 1": {1}, "supervisor": r.supervisor(), "containerd": r.containerd(), "redis's shim": r.shim("redis"),
	} {
		if len(pids) != 1 {
			return nil, fmt.Errorf("processes %v are the %s", pids, name)
		}
		files, err := r.run("/bin/busybox", "ls", "-l", fmt.Sprintf("/proc/%d/fd", pids[0]))
		if err != nil {
			return nil, err
		}
		if name == "redis's shim" { // For each containerd it opens one, which its garbage collector closes some day.
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

// field reads the number in a line "NAME VALUE …".
func field(text, name string) (value int) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			value, _ = strconv.Atoi(f[1])
		}
	}
	return value
}

// slack is how much memory a process may have more than before, in KiB: a
// garbage collector leaves some for later, and heaps get holes. PID 1 has come to
// its most, 1 MiB more, after some thousand restarts.
var slack = map[string]int{"PID 1": 2 << 10, "supervisor": 4 << 10, "containerd": 12 << 10, "redis's shim": 2 << 10}

// fileSlack is for pools of connections and the like.
const fileSlack = 2

func grown(before, after map[string]usage) string {
	var all []string
	for name, b := range before {
		if a := after[name]; a.files > b.files+fileSlack || a.memory > b.memory+slack[name] {
			all = append(all, fmt.Sprintf("%s was %+v and is %+v", name, b, a))
		}
	}
	return strings.Join(all, "; ")
}

// churn has all services of faults restarted, in peace.
func (r *run) churn(rounds int) error {
	for range rounds {
		if _, err := r.service(append([]string{"restart"}, services...)...); err != nil {
			return err
		}
	}
	return nil
}

// grows churns twice and compares: the first time, what is kept for good is
// made.
func (r *run) grows(rounds int) (problem string) {
	var before map[string]usage
	for i := range 2 {
		if err := r.churn(rounds); err != nil {
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

// bundlesTaken wants every service to be what its bundle says now.
func (r *run) bundlesTaken() (problem string) {
	states := r.list()
	for name, value := range r.variables {
		env, err := r.readFile(fmt.Sprintf("/proc/%d/environ", states[name].PID))
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), value) {
			return fmt.Sprintf("%s has not %s but %q, %v", name, value, env, err)
		}
	}
	return ""
}
