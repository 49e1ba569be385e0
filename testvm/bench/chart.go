package bench

import (
	"fmt"
	"os"
	"path/filepath"

	"keelson/runtime/timeline/chart"
)

// shortest is the length in seconds from which a stage has a bar: a figure in milliseconds
// shows nothing shorter.
const shortest = 0.0005

// Reference is another init that was measured with the same marks, in seconds since /init.
type Reference struct {
	Name                  string
	ThirdOnboot, ThirdRun float64
}

// Stock is LinuxKit's own init on the processor of the benchmark, qemu64 (docs/performance.md).
var Stock = Reference{Name: "LinuxKit's init", ThirdOnboot: 0.556, ThirdRun: 0.992}

// Chart draws an SVG of the times of this image and another until the third service, and in
// a second panel the stages of this one until then.
func (r *Report) Chart(other Reference) []byte {
	end := r.figure("/init to 3rd service")
	c := chart.New("Boot of three onboot containers and three services, in virtual time")
	c.Add("Third onboot container and third service, seconds since /init", other.ThirdRun, []chart.Row{
		bar(chart.Bar, Stage{Name: r.Name + ", onboot", Length: r.figure("/init to onboot 3")}),
		bar(chart.Bar, Stage{Name: r.Name + ", services", Length: end}),
		bar(chart.Other, Stage{Name: other.Name + ", onboot", Length: other.ThirdOnboot}),
		bar(chart.Other, Stage{Name: other.Name + ", services", Length: other.ThirdRun}),
	})
	var rows []chart.Row
	last := end
	for _, s := range r.Stages {
		if s.Start > -shortest && s.Start < end && s.Length >= shortest {
			rows = append(rows, bar(chart.Bar, s))
			last = max(last, s.End())
		}
	}
	c.Add("The stages of it, seconds since /init", last, rows)
	return c.SVG()
}

// bar returns the row of a stage, with times in seconds.
func bar(class string, s Stage) chart.Row {
	return chart.Row{Name: s.Name, Class: class, Begin: s.Start, Length: s.Length, Text: fmt.Sprintf("%.0f ms", s.Length*1e3)}
}

// figure returns the value of a figure, 0 if there is none of that name.
func (r *Report) figure(name string) float64 {
	for _, f := range r.Figures {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}

// WriteChart writes the chart to stages.svg in dir and returns the file's name.
func (r *Report) WriteChart(dir string, other Reference) (string, error) {
	path := filepath.Join(dir, "stages.svg")
	if err := os.WriteFile(path, r.Chart(other), 0o644); err != nil {
		return "", fmt.Errorf("cannot write the chart: %w", err)
	}
	return path, nil
}
