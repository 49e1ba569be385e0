package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"keelson/runtime/timeline"
)

// Stage is a part of the boot or shutdown, from the messages of the init. Concurrent stages
// overlap.
type Stage struct {
	Name   string  `json:"name"`
	Start  float64 `json:"start"` // since /init, seconds
	Length float64 `json:"length"`
	// Instructions is the number of instructions that the guest has run meanwhile, in any
	// stage. Idle time counts in nanoseconds.
	Instructions int64 `json:"instructions"`
}

// End returns the end of a stage, in seconds since /init.
func (s Stage) End() float64 { return s.Start + s.Length }

// bootRole is the stage of the whole of "init boot".
const bootRole = "boot"

// perSecond is the number of instructions in a second of virtual time.
const perSecond = 1e9

// span is a stage from start to end, seconds since /init.
func span(name string, start, end float64) Stage {
	length := max(0, end-start)
	return Stage{Name: name, Start: start, Length: length, Instructions: int64(math.Round(length * perSecond))}
}

// walk derives stages from the init's messages, one after the other.
type walk struct {
	run    Run
	stages []Stage
	last   float64 // when the line before was said
	down   float64 // when the way down began; 0 on the way up
}

// stages returns the stages of one boot. Without messages of the init there is only the
// kernel's.
func (r Run) stages() []Stage {
	w := walk{run: r, stages: []Stage{span("kernel", -r.Kernel, 0)}}
	for _, e := range r.Steps {
		w.step(e)
	}
	if w.down > 0 {
		w.stages = append(w.stages, span("kernel powers down", w.last, r.Requested+r.PowerOff))
	}
	return w.stages
}

func (w *walk) step(e timeline.Event) {
	at := e.At.Seconds() - w.run.Clock - w.run.Kernel
	begin := at - e.Took.Seconds()
	if e.Took == 0 {
		begin = w.last
	}
	name := e.Stage
	if e.Name != "" {
		name += " " + e.Name
	}
	switch {
	case e.Stage == timeline.Kernel:
		name = "/init starts"
	case e.Stage == bootRole:
		name = "init boot, in all"
	case e.Stage == timeline.Containerd:
		w.stages = append(w.stages, span("supervisor starts", w.last, begin))
		name = "containerd answers"
	case e.Stage == timeline.Shutdown && w.down == 0:
		name, begin, w.down = "shutdown begins", w.run.Requested, at
	case e.Stage == timeline.Shutdown:
		name = "stop " + e.Name
	case e.Stage == timeline.Service && w.down > 0:
		name, begin = "stop "+name, w.down
	}
	w.stages = append(w.stages, span(name, begin, at))
	w.last = at
}

// meanStages averages the stages of all runs by their names, in the order in
// which they begin.
func meanStages(runs []Run) []Stage {
	var mean []Stage
	var count []float64
	for _, r := range runs {
		for _, s := range r.stages() {
			i := slices.IndexFunc(mean, func(m Stage) bool { return m.Name == s.Name })
			if i < 0 {
				i = len(mean)
				mean, count = append(mean, Stage{Name: s.Name}), append(count, 0)
			}
			mean[i].Start += s.Start
			mean[i].Length += s.Length
			count[i]++
		}
	}
	for i, m := range mean {
		start := m.Start / count[i]
		mean[i] = span(m.Name, start, start+m.Length/count[i])
	}
	slices.SortStableFunc(mean, func(a, b Stage) int { return compare(a.Start, b.Start) })
	return mean
}

// compare orders times as exact as the init's lines tell them: what begins
// within the same millisecond stays in its order.
func compare(a, b float64) int {
	return int(math.Round(a*1e3)) - int(math.Round(b*1e3))
}

// writeStages prints stages in the order in which they begin.
func (r *Report) writeStages(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nstart\tlength\tinstructions\t stage\n")
	for _, s := range r.Stages {
		fmt.Fprintf(t, "%.3f s\t%.3f s\t%.0f M\t %s\n", s.Start, s.Length, float64(s.Instructions)/1e6, s.Name)
	}
	_ = t.Flush()
}
