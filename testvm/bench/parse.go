package bench

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Run is the result of one boot. Times are seconds of virtual time.
type Run struct {
	Kernel    float64          `json:"kernel"`    // from the kernel's start to /init
	Onboot    []float64        `json:"onboot"`    // from /init to each onboot mark
	Services  []float64        `json:"services"`  // from /init to each service mark, in order of time
	Requested float64          `json:"requested"` // from /init to the request to power off
	PowerOff  float64          `json:"power_off"` // from the request to power-off
	Idle      float64          `json:"idle"`      // how long the processor waited until the services ran; 0 in the host's time
	Memory    map[string]int64 `json:"memory"`    // bytes, by the names of /proc/meminfo
	Processes []Process        `json:"processes"`
	// Steps are the init's own lines, by the kernel's clock CLOCK_BOOTTIME, which
	// is Clock seconds ahead of the stamps of the kernel log.
	Steps []timeline.Event `json:"steps,omitempty"`
	Clock float64          `json:"clock"`
}

const containers = 3 // of each kind

// stamped matches a line of the kernel log on the console, with or without the number of
// the caller. It may be in the middle of a line that a program writes.
var stamped = regexp.MustCompile(`\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+\])? (.*)$`)

// reader gathers a Run line by line.
type reader struct {
	run                Run
	started            bool
	requested, powered float64 // by the kernel log
}

// Parse reads the marks on a console.
func Parse(console string) (Run, error) {
	r := reader{run: Run{Memory: map[string]int64{}}}
	for line := range strings.Lines(console) {
		before, k, err := cutKernel(strings.TrimRight(line, "\r\n"))
		if err != nil {
			return r.run, err
		}
		if e, ok := timeline.ParseLine(before); ok {
			r.run.Steps = append(r.run.Steps, e)
		}
		if err := r.line(k); err != nil {
			return r.run, err
		}
	}
	return r.finish()
}

// kernelLine is a line of the kernel log without its timestamp.
type kernelLine struct {
	at   float64 // timestamp in seconds
	text string
}

// cutKernel splits a line of the console into the output of programs and of the kernel.
// Either may be empty.
func cutKernel(line string) (string, kernelLine, error) {
	m := stamped.FindStringSubmatchIndex(line)
	if m == nil {
		return line, kernelLine{}, nil
	}
	at, err := strconv.ParseFloat(line[m[2]:m[3]], 64)
	if err != nil {
		return "", kernelLine{}, fmt.Errorf("cannot read the stamp of %q: %w", line, err)
	}
	return line[:m[0]], kernelLine{at, line[m[4]:m[5]]}, nil
}

// mark returns the words of a mark, at least two, or nil for other lines.
func (k kernelLine) mark() ([]string, error) {
	text, ok := strings.CutPrefix(k.text, "keelson-bench: ")
	if !ok {
		return nil, nil
	}
	words := strings.Fields(text)
	if len(words) < 2 {
		return nil, fmt.Errorf("cannot read the mark %q", k.text)
	}
	return words, nil
}

func (r *reader) line(k kernelLine) error {
	switch {
	case strings.HasPrefix(k.text, "Run /init as init process"):
		r.run.Kernel, r.started = k.at, true
	case strings.HasSuffix(k.text, "reboot: Power down"):
		r.powered = k.at
	}
	words, err := k.mark()
	if err != nil || words == nil {
		return err
	}
	return r.mark(k.at, words)
}

func (r *reader) mark(at float64, words []string) error {
	since := at - r.run.Kernel
	switch words[0] {
	case "onboot":
		r.run.Onboot = append(r.run.Onboot, since)
	case "service":
		r.run.Services = append(r.run.Services, since)
	case "power":
		r.requested = at
	case "clock":
		now, err := strconv.ParseUint(words[1], 10, 63)
		if err != nil {
			return fmt.Errorf("cannot read the mark %q: %w", words, err)
		}
		r.run.Clock = time.Duration(now).Seconds() - at
	case "idle":
		ns, err := strconv.ParseUint(words[1], 10, 63)
		if err != nil {
			return fmt.Errorf("cannot read the mark %q: %w", words, err)
		}
		r.run.Idle += time.Duration(ns).Seconds()
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

// kibibytes converts at least one number of KiB to bytes.
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
	r.run.Requested, r.run.PowerOff = r.requested-r.run.Kernel, r.powered-r.requested
	return r.run, nil
}
