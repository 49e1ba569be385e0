package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// Report is the measurement of an image.
type Report struct {
	Name      string    `json:"name"`
	Arch      string    `json:"arch"`
	Processor string    `json:"processor,omitempty"` // that QEMU emulated
	Sizes     Sizes     `json:"sizes"`
	Runs      []Run     `json:"runs"`
	Figures   []Figure  `json:"figures"`
	Stages    []Stage   `json:"stages"`
	Binaries  []Binary  `json:"binaries,omitempty"`
	Startup   []Startup `json:"startup,omitempty"`
}

// Figure is one number with its spread between seeds.
type Figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"` // s or B
	Value  float64 `json:"value"`
	Spread float64 `json:"spread"` // (greatest - least) / mean
}

// quantities are the values compared between runs.
var quantities = []struct {
	name, unit string
	of         func(Run) float64
}{
	{"kernel to /init", "s", func(r Run) float64 { return r.Kernel }},
	{"/init to onboot 1", "s", func(r Run) float64 { return r.Onboot[0] }},
	{"/init to onboot 2", "s", func(r Run) float64 { return r.Onboot[1] }},
	{"/init to onboot 3", "s", func(r Run) float64 { return r.Onboot[2] }},
	{"/init to 1st service", "s", func(r Run) float64 { return r.Services[0] }},
	{"/init to 2nd service", "s", func(r Run) float64 { return r.Services[1] }},
	{"/init to 3rd service", "s", func(r Run) float64 { return r.Services[2] }},
	{"kernel to 3rd service", "s", func(r Run) float64 { return r.Kernel + r.Services[2] - r.Idle }},
	{"power off", "s", func(r Run) float64 { return r.PowerOff }},
	{"memory in use", "B", func(r Run) float64 { return float64(r.Memory["MemTotal"] - r.Memory["MemFree"]) }},
	{"anonymous memory", "B", func(r Run) float64 { return float64(r.Memory["AnonPages"]) }},
}

// Summarize computes figures and stages from the runs.
func (r *Report) Summarize() {
	for _, q := range quantities {
		var values []float64
		sum := 0.0
		for _, run := range r.Runs {
			values = append(values, q.of(run))
			sum += q.of(run)
		}
		f := Figure{Name: q.name, Unit: q.unit, Value: sum / float64(len(values))}
		if f.Value != 0 {
			f.Spread = (slices.Max(values) - slices.Min(values)) / f.Value
		}
		r.Figures = append(r.Figures, f)
	}
	r.Stages = meanStages(r.Runs)
}

// Spread returns the largest spread of a time between seeds.
func (r *Report) Spread() float64 {
	worst := 0.0
	for _, f := range r.Figures {
		if f.Unit == "s" {
			worst = max(worst, f.Spread)
		}
	}
	return worst
}

// WriteTable prints the report as tables.
func (r *Report) WriteTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s (%s), virtual time, mean of %d seeds\n", r.Name, cmp.Or(r.Processor, r.Arch), len(r.Runs))
	for _, f := range r.all() {
		if f.Unit == "B" && f.Value == 0 {
			continue // The content of a disk is not read.
		}
		spread := ""
		if f.Spread > 0 {
			spread = fmt.Sprintf("± %.2f %%", f.Spread*100/2)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", f.Name, quantity(f.Value, f.Unit), spread)
	}
	_ = t.Flush()
	r.writeStages(w)
	r.writeProcesses(w)
	r.writeBinaries(w)
	r.writeStartup(w)
	fmt.Fprintf(w, "\nNo time differs by more than %.2f %% between seeds.\n", r.Spread()*100)
}

func (r *Report) writeProcesses(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\npid\tRSS\tPSS\tanonymous\tprocess\t\n")
	for _, p := range r.Runs[0].Processes {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t\n", p.PID, quantity(float64(p.RSS), "B"),
			quantity(float64(p.PSS), "B"), quantity(float64(p.Anon), "B"), p.Name)
	}
	_ = t.Flush()
}

func quantity(v float64, unit string) string {
	if unit == "B" {
		return fmt.Sprintf("%.1f MB", v/1e6)
	}
	return fmt.Sprintf("%.3f s", v)
}

// WriteJSON writes the report to NAME.json in dir, or to NAME-PROCESSOR.json if the processor is not
// the first one, and returns the file's name.
func (r *Report) WriteJSON(dir string) (string, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("cannot write the report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot write the report: %w", err)
	}
	name := r.Name
	if r.Processor != "" && r.Processor != Processors[0] {
		name += "-" + r.Processor
	}
	path := filepath.Join(dir, name+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("cannot write the report: %w", err)
	}
	return path, nil
}
