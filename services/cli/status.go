package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/logs/reader"
	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/services/events"
)

// status is the verb that shows some services.
func (a *App) status() Verb {
	var asJSON bool
	return Verb{
		Use: "status NAME…", Group: Look, Short: "show all that is known of a service, or a line for each of several", Min: 1, Max: -1, Names: ServiceNames,
		Codes: []int{control.CodeNotRunning, control.CodeNotFound},
		Long:  "If several exit statuses apply, it is the one for a name that does not exist.",
		Example: "status redis         # state, use, dependencies, mounts, last runs and last lines of its log\n" +
			"status redis nginx   # a line for each\n" +
			"status --json redis  # for programs",
		Flags: func(f *pflag.FlagSet) { servicesJSON(f, &asJSON) },
		Run:   func(ctx context.Context, names []string) (int, error) { return a.show(ctx, names, asJSON) },
	}
}

// Limits of what status shows.
const (
	shownRuns  = 5
	shownLines = 10
)

// one prints what is known of a service. What cannot be found out is left out.
func (a *App) one(ctx context.Context, now sample, s control.Service) error {
	coloured := a.coloured()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s for %s\n", s.Name, paint(cell{s.State, stateStyle(s.State)}, coloured), since(s.Since, now.at))
	line := func(name, format string, values ...any) {
		if text := timeline.OneLine(fmt.Sprintf(format, values...)); text != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, text)
		}
	}
	line("status", "%s", s.Status)
	line("error", "%s", s.Error)
	if s.PID > 0 {
		line("process", "%d", s.PID)
	}
	line("restarts", "%s", restartText(s))
	line("probe", "%s", s.Probe)
	if use := now.usage(s.Name); use.CPUSeconds != nil || use.Memory != nil {
		line("memory", "%s, peak %s", ofLimit(bytesText(use.Memory), bytesText(use.MemoryLimit)), bytesText(use.MemoryPeak))
		line("cpu", "%s", secondsText(use.CPUSeconds))
		line("processes", "%s", ofLimit(countText(use.Processes), countText(use.ProcessesLimit)))
	}
	line("bundle", "%s", s.Bundle)
	line("version", "%s", versionOf(s))
	line("after", "%s", strings.Join(s.After, " "))
	line("requires", "%s", strings.Join(s.Requires, " "))
	line("conditions", "%s", strings.Join(s.Conditions, " "))
	line("before", "%s", strings.Join(a.waiting(ctx, s.Name), " "))
	line("sockets", "%s", strings.Join(s.Sockets, " "))
	if i, err := a.Client.Inspect(ctx, s.Name); err == nil {
		configLines(line, i)
	}
	if _, err := io.WriteString(a.Out, b.String()); err != nil {
		return err
	}
	a.printRuns(a.runs(ctx, s.Name), now.at)
	a.lastLines(ctx, s.Name)
	return nil
}

// lastLines prints the last lines of a service's log, if they can be read.
func (a *App) lastLines(ctx context.Context, name string) {
	format, err := reader.Formats("short")
	if err != nil {
		return
	}
	var lines strings.Builder
	read := *a
	read.Out = &lines
	if err := read.printLogs(ctx, control.LogQuery{Names: []string{name}, Lines: shownLines}, format); err == nil && lines.Len() > 0 {
		fmt.Fprintf(a.Out, "\nLAST LINES\n%s", lines.String())
	}
}

func restartText(s control.Service) string {
	if s.LastExit == "" {
		return fmt.Sprint(s.Restarts)
	}
	return fmt.Sprintf("%d; its container last %s", s.Restarts, s.LastExit)
}

func versionOf(s control.Service) string {
	if s.Version == "" {
		return "of the image"
	}
	return s.Version
}

// waiting returns the services that start after one.
func (a *App) waiting(ctx context.Context, name string) (names []string) {
	r, err := a.Client.Call(ctx, control.Request{Verb: control.List})
	if err != nil {
		return nil
	}
	for _, other := range r.Services {
		if slices.Contains(other.After, name) {
			names = append(names, other.Name)
		}
	}
	return names
}

// configLines describes settings and configuration.
func configLines(line func(name, format string, values ...any), i control.Inspection) {
	set := func(name string) string { return i.Settings["keelson."+name] }
	line("restart", "%s, after %s to %s", set("restart"), set("restart.delay"), set("restart.max-delay"))
	line("stop", "%s, killed after %s", set("stop.signal"), set("stop.timeout"))
	line("ready", "%s", set("ready"))
	line("health", "%s", set("health"))
	cpu, mounts := parts(i.Config)
	line("cpu limit", "%s", cpu)
	for n, m := range mounts {
		name := ""
		if n == 0 {
			name = "mounts"
		}
		line(name, "%s", m)
	}
}

// usualMounts are those that almost every container has.
var usualMounts = []string{"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"}

// parts returns the limit of processors and the mounts of a configuration, but for the usual ones.
func parts(config map[string]any) (cpu string, mounts []string) {
	text, err := json.Marshal(config)
	var c struct {
		Mounts []struct {
			Destination, Type, Source string
			Options                   []string
		}
		Linux struct {
			Resources struct {
				CPU struct {
					Quota  int64
					Period uint64
				}
			}
		}
	}
	if err != nil || json.Unmarshal(text, &c) != nil {
		return "", nil
	}
	if q := c.Linux.Resources.CPU; q.Quota > 0 {
		if q.Period == 0 {
			q.Period = 100_000 // The kernel's default, in microseconds.
		}
		cpu = fmt.Sprintf("%.2f processors", float64(q.Quota)/float64(q.Period))
	}
	for _, m := range c.Mounts {
		if slices.Contains(usualMounts, m.Destination) {
			continue
		}
		access := "rw"
		if slices.Contains(m.Options, "ro") {
			access = "ro"
		}
		mounts = append(mounts, fmt.Sprintf("%s from %s (%s)", m.Destination, m.Source, access))
	}
	return cpu, mounts
}

// run is the time from the start of a container to its end.
type run struct {
	pid        int
	begin, end time.Time // zero: not known, not yet
	how        string    // it ended
}

// runs returns the last runs of a service, the last one first, as far as events are kept.
func (a *App) runs(ctx context.Context, name string) []run {
	var all []events.Event
	_ = a.Client.Events(ctx, control.EventQuery{Services: []string{name}, Kinds: []events.Kind{events.Service}}, func(_ string, kind events.Kind, data string) error {
		var e events.Event
		if kind == events.Service && json.Unmarshal([]byte(data), &e) == nil {
			all = append(all, e)
		}
		return nil
	})
	return runsOf(all)
}

// runsOf derives runs from the events of a service.
func runsOf(all []events.Event) []run {
	var runs []run
	for _, e := range all {
		last := len(runs) - 1
		open := last >= 0 && runs[last].end.IsZero()
		switch {
		case e.Exit != nil:
			if !open || runs[last].pid != e.PID {
				runs = append(runs, run{pid: e.PID})
				last++
			}
			runs[last].end, runs[last].how = e.Time, e.Exit.String()
			if e.From == "failing" && e.Text != "" { // The supervisor has stopped it.
				runs[last].how += ": " + e.Text
			}
		case e.PID > 0 && (!open || runs[last].pid != e.PID):
			runs = append(runs, run{pid: e.PID, begin: e.Time})
		case (e.To == "backoff" || e.To == "failed") && !open && e.From == "starting":
			runs = append(runs, run{begin: e.Time, end: e.Time, how: "did not start: " + e.Text})
		}
	}
	slices.Reverse(runs)
	return runs[:min(len(runs), shownRuns)]
}

func (a *App) printRuns(runs []run, now time.Time) {
	if len(runs) == 0 {
		return
	}
	t := table{titles("STARTED", ">PID", ">LASTED", "END")}
	for _, r := range runs {
		begin, pid, lasted, how := "before", "-", "-", cell{r.how, noStyle}
		if !r.begin.IsZero() {
			begin = r.begin.UTC().Format(time.RFC3339)
			lasted = since(r.begin, r.end)
		}
		if r.end.IsZero() {
			lasted, how = since(r.begin, now), cell{"runs", good}
		}
		if r.pid > 0 {
			pid = fmt.Sprint(r.pid)
		}
		t.row(begin, pid, lasted, how)
	}
	fmt.Fprintln(a.Out)
	_ = a.print(t) // The next line fails then, too.
}

// inspect is the verb that shows the configuration of a service.
func (a *App) inspect() Verb {
	return Verb{
		Use: "inspect NAME", Group: Look, Short: "show the configuration of a service as JSON", Min: 1, Max: 1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Long: "It is an Inspection (docs/api.yaml): the folder of the bundle, all settings with their defaults, and\n" +
			"the configuration of the OCI runtime specification that the container has; of the bundle, if it does\nnot run. --json is accepted and changes nothing.",
		Example: "inspect redis                        # all of it\ninspect redis | jq .config.mounts    # a part",
		Flags:   func(f *pflag.FlagSet) { f.Bool("json", true, "print JSON, as without it") },
		Run: func(ctx context.Context, names []string) (int, error) {
			i, err := a.Client.Inspect(ctx, names[0])
			if code, err := a.getError(ctx, err, names); err != nil {
				return code, err
			}
			return control.CodeOK, a.printJSON(i)
		},
	}
}
