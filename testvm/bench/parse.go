package bench

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"keelson/runtime/timeline"
)

// Process is the memory of one process, in bytes.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	RSS  int64  `json:"rss"`
	PSS  int64  `json:"pss"`
	Anon int64  `json:"anon"`
}

// Run is what one boot showed. Times are seconds of virtual time.
type Run struct {
	Kernel    float64          `json:"kernel"`   // from the kernel's start to /init
	Onboot    []float64        `json:"onboot"`   // from /init to each onboot mark
	Services  []float64        `json:"services"` // from /init to each service mark, in order of time
	PowerOff  float64          `json:"power_off"`
	Memory    map[string]int64 `json:"memory"` // bytes, by the names of /proc/meminfo
	Processes []Process        `json:"processes"`
	Steps     []timeline.Event `json:"steps,omitempty"` // keelson's own, since the kernel's start
}

const containers = 3 // of each kind

// stamped is a line of the kernel log on the console, with or without the
// caller's number.
var stamped = regexp.MustCompile(`^\[ *(\d+\.\d+)\](?:\[ *[TC]\d+\])? (.*)$`)

// reader gathers a Run line by line.
type reader struct {
	run                Run
	started            bool
	requested, powered float64
}

// Parse reads the marks on a console.
func Parse(console string) (Run, error) {
	r := reader{run: Run{Memory: map[string]int64{}}}
	for line := range strings.Lines(console) {
		line = strings.TrimRight(line, "\r\n")
		if e, ok := timeline.ParseLine(line); ok {
			r.run.Steps = append(r.run.Steps, e)
			continue
		}
		if err := r.line(line); err != nil {
			return r.run, err
		}
	}
	return r.finish()
}

func (r *reader) line(line string) error {
	m := stamped.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	at, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return fmt.Errorf("cannot read the stamp of %q: %w", line, err)
	}
	text := m[2]
	switch {
	case strings.HasPrefix(text, "Run /init as init process"):
		r.run.Kernel, r.started = at, true
	case strings.HasSuffix(text, "reboot: Power down"):
		r.powered = at
	default:
		if mark, ok := strings.CutPrefix(text, "keelson-bench: "); ok {
			return r.mark(at, strings.Fields(mark))
		}
	}
	return nil
}

func (r *reader) mark(at float64, words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("cannot read the mark %q", words)
	}
	since := at - r.run.Kernel
	switch words[0] {
	case "onboot":
		r.run.Onboot = append(r.run.Onboot, since)
	case "service":
		r.run.Services = append(r.run.Services, since)
	case "power":
		r.requested = at
	case "memory":
		n, err := kibibytes(words[2:])
		if err != nil {
			return fmt.Errorf("cannot read the mark %q: %w", words, err)
		}
		r.run.Memory[words[1]] = n[0]
	case "process":
		p, err := process(words[1:])
		if err != nil {
			return fmt.Errorf("cannot read the mark %q: %w", words, err)
		}
		r.run.Processes = append(r.run.Processes, p)
	}
	return nil
}

// process reads PID RSS PSS ANON NAME.
func process(words []string) (Process, error) {
	if len(words) < 5 {
		return Process{}, errors.New("want PID RSS PSS ANON NAME")
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil {
		return Process{}, err
	}
	n, err := kibibytes(words[1:4])
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, Name: strings.Join(words[4:], " "), RSS: n[0], PSS: n[1], Anon: n[2]}, nil
}

// kibibytes reads at least one number of KiB as bytes.
func kibibytes(words []string) ([]int64, error) {
	if len(words) == 0 {
		return nil, errors.New("a number is missing")
	}
	var out []int64
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 40)
		if err != nil {
			return nil, err
		}
		out = append(out, int64(n)<<10)
	}
	return out, nil
}

// finish checks that nothing is missing.
func (r *reader) finish() (Run, error) {
	var missing []string
	want := func(ok bool, what string) {
		if !ok {
			missing = append(missing, what)
		}
	}
	want(r.started, "the kernel's line about running /init")
	want(len(r.run.Onboot) == containers, fmt.Sprintf("%d onboot marks (%d there)", containers, len(r.run.Onboot)))
	want(len(r.run.Services) == containers, fmt.Sprintf("%d service marks (%d there)", containers, len(r.run.Services)))
	want(r.requested > 0, "the power off mark")
	want(r.powered > 0, "the kernel's line about power down")
	want(r.run.Memory["MemTotal"] > 0 && r.run.Memory["MemFree"] > 0, "the memory marks")
	if missing != nil {
		return r.run, fmt.Errorf("cannot measure this boot, its console lacks: %s", strings.Join(missing, "; "))
	}
	slices.Sort(r.run.Services)
	r.run.PowerOff = r.powered - r.requested
	return r.run, nil
}
