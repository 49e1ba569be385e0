package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"keelson/services/control"
)

// sample is the state of services at one time.
type sample struct {
	services []control.Service
	usages   control.Usages
	at       time.Time
}

// take asks for services, all or those named, and what they use.
func (a *App) take(ctx context.Context, names []string) (s sample, code int, err error) {
	r, err := a.Client.Call(ctx, control.Request{Verb: control.List, Names: names})
	switch {
	case err != nil:
		return s, control.CodeFailed, a.explain(err)
	case r.Error != "":
		code, err = a.failed(ctx, r, names)
		return s, code, err
	}
	s.services, s.at = r.Services, time.Now()
	s.usages, err = a.Client.Usages(ctx)
	if err != nil {
		return s, control.CodeFailed, err
	}
	return s, r.Code, nil
}

// usage returns what a service uses.
func (s sample) usage(name string) control.Usage {
	i := slices.IndexFunc(s.usages.Services, func(u control.Usage) bool { return u.Name == name })
	if i < 0 {
		return control.Usage{Name: name}
	}
	return s.usages.Services[i]
}

// load returns the part of one processor that a service has used since another sample, if it is
// known.
func (s sample) load(before sample, name string) *float64 {
	now, then := s.usage(name).CPUSeconds, before.usage(name).CPUSeconds
	passed := (s.usages.At - before.usages.At).Seconds()
	if now == nil || then == nil || passed <= 0 || *now < *then { // It has another cgroup since.
		return nil
	}
	load := (*now - *then) / passed
	return &load
}

// bytesText returns a number of bytes, short enough for a column.
func bytesText(n *float64) string {
	if n == nil {
		return "-"
	}
	return units.CustomSize("%.1f%s", *n, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"})
}

func countText(n *float64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f", *n)
}

// secondsText returns processor time.
func secondsText(n *float64) string {
	if n == nil {
		return "-"
	}
	if *n < 60 {
		return fmt.Sprintf("%.2fs", *n)
	}
	return time.Duration(*n * float64(time.Second)).Round(time.Second).String()
}

// ofLimit returns a value and its limit.
func ofLimit(value, limit string) string {
	if limit == "-" {
		return value
	}
	return value + " / " + limit
}

// Orders of a table of what services use.
const (
	byCPU       = "cpu"
	byMemory    = "memory"
	byProcesses = "processes"
	byRestarts  = "restarts"
	byName      = "name"
)

var usageOrders = []string{byCPU, byMemory, byProcesses, byRestarts, byName}

// usageTable returns the table of stats and top, the largest first.
func usageTable(s, before sample, order string) table {
	type line struct {
		control.Service
		use  control.Usage
		load *float64
	}
	var lines []line
	for _, service := range s.services {
		lines = append(lines, line{service, s.usage(service.Name), s.load(before, service.Name)})
	}
	value := func(n *float64) float64 {
		if n == nil {
			return -1
		}
		return *n
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		switch order {
		case byCPU:
			return cmp.Or(cmp.Compare(value(b.load), value(a.load)), strings.Compare(a.Name, b.Name))
		case byMemory:
			return cmp.Compare(value(b.use.Memory), value(a.use.Memory))
		case byProcesses:
			return cmp.Compare(value(b.use.Processes), value(a.use.Processes))
		case byRestarts:
			return cmp.Compare(b.Restarts, a.Restarts)
		}
		return strings.Compare(a.Name, b.Name)
	})
	t := table{titles("NAME", "STATE", ">CPU %", ">CPU TIME", ">MEMORY / LIMIT", ">PROCESSES", ">RESTARTS", ">FOR")}
	for _, l := range lines {
		load := "-"
		if l.load != nil {
			load = fmt.Sprintf("%.1f", *l.load*100)
		}
		t.row(l.Name, cell{l.State, stateStyle(l.State)}, load, secondsText(l.use.CPUSeconds),
			ofLimit(bytesText(l.use.Memory), bytesText(l.use.MemoryLimit)), ofLimit(countText(l.use.Processes), countText(l.use.ProcessesLimit)),
			l.Restarts, since(l.Since, s.at))
	}
	return t
}

// statsTime is between the two samples from which the load is computed.
const statsTime = time.Second

// stats is the verb that prints what services use.
func (a *App) stats() Verb {
	var asJSON, once bool
	return Verb{
		Use: "stats [NAME…]", Group: Look, Short: "show the processor time, memory and processes of services", Max: -1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Long: "On a terminal the table is shown again each second, until ctrl-C. CPU % is the part of one\nprocessor in the last second. MEMORY has caches of files.",
		Example: "stats              # of all services, live\n" +
			"stats --no-stream  # once, after a second\nstats --json redis # for programs: counters, without a wait",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&once, "no-stream", false, "print the table once")
			f.BoolVar(&asJSON, "json", false, "print an array of Usage (docs/api.yaml) once")
		},
		Run: func(ctx context.Context, names []string) (int, error) {
			s, code, err := a.take(ctx, names)
			if err != nil {
				return code, err
			}
			if asJSON {
				return control.CodeOK, a.printJSON(s.of(names))
			}
			if a.terminal() && !once {
				return a.live(ctx, &screen{names: names, order: byName, quiet: true}, s)
			}
			before := s
			if err := pause(ctx, statsTime); err != nil {
				return control.CodeFailed, err
			}
			if s, code, err = a.take(ctx, names); err != nil {
				return code, err
			}
			return control.CodeOK, a.print(usageTable(s, before, byName))
		},
	}
}

// of returns the usages of the named services, or all.
func (s sample) of(names []string) []control.Usage {
	all := []control.Usage{}
	for _, u := range s.usages.Services {
		if len(names) == 0 || slices.Contains(names, u.Name) {
			all = append(all, u)
		}
	}
	return all
}

// pause waits, or returns why not.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// orderKeys are the keys of top, each with the order that it chooses.
var orderKeys = map[byte]string{'c': byCPU, 'm': byMemory, 'p': byProcesses, 'r': byRestarts, 'n': byName}

func keysText() string {
	var b strings.Builder
	for _, order := range usageOrders {
		for _, key := range slices.Sorted(maps.Keys(orderKeys)) {
			if orderKeys[key] == order {
				fmt.Fprintf(&b, "%c: %s  ", key, order)
			}
		}
	}
	return b.String() + "q: quit"
}
