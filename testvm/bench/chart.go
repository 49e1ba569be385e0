package bench

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"text/template"
)

// Geometry of the chart, in pixels.
const (
	chartWidth = 860
	chartLeft  = 170 // where zero is
	chartPlot  = 580 // from zero to the end of the time axis; numbers follow it
	rowHeight  = 20
	barHeight  = 14
	rowBase    = 11 // of a row's text, from the top of its bar
	panelHead  = 24 // for a panel's title, and then for its ticks
	panelGap   = 16
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

// chart, panel, row and tick are the data of the template.
type chart struct {
	Title                              string
	Width, Height, Left, LabelEnd, Bar int
	Panels                             []panel
}

type panel struct {
	Title string
	Top   int // of the title's text
	Ticks []tick
	Rows  []row
}

type row struct {
	Name, Class, Text string
	X, Y, W, After    float64
	Base              float64
}

type tick struct {
	X               float64
	From, To, Label int
	Text            string
}

//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart").Parse(chartText))

// Chart draws an SVG of the times of this image and another until the third service, and in
// a second panel the stages of this one until then.
func (r *Report) Chart(other Reference) ([]byte, error) {
	end := r.figure("/init to 3rd service")
	c := chart{Title: "Boot of three onboot containers and three services, in virtual time",
		Width: chartWidth, Left: chartLeft, LabelEnd: chartLeft - 8, Bar: barHeight}
	c.add("Third onboot container and third service, seconds since /init", other.ThirdRun, []row{
		bar("bar", Stage{Name: r.Name + ", onboot", Length: r.figure("/init to onboot 3")}),
		bar("bar", Stage{Name: r.Name + ", services", Length: end}),
		bar("stock", Stage{Name: other.Name + ", onboot", Length: other.ThirdOnboot}),
		bar("stock", Stage{Name: other.Name + ", services", Length: other.ThirdRun}),
	})
	var rows []row
	last := end
	for _, s := range r.Stages {
		if s.Start > -shortest && s.Start < end && s.Length >= shortest {
			rows = append(rows, bar("bar", s))
			last = max(last, s.End())
		}
	}
	c.add("The stages of it, seconds since /init", last, rows)
	var svg bytes.Buffer
	if err := chartTemplate.Execute(&svg, c); err != nil {
		return nil, fmt.Errorf("cannot draw the stages: %w", err)
	}
	return svg.Bytes(), nil
}

// bar returns the row of a stage, with times in seconds.
func bar(class string, s Stage) row {
	return row{Name: s.Name, Class: class, X: s.Start, W: s.Length, Text: fmt.Sprintf("%.0f ms", s.Length*1e3)}
}

// add adds a panel below the others. Its axis ends at or after end, in seconds.
func (c *chart) add(title string, end float64, rows []row) {
	step := tickStep(end)
	end = math.Ceil(end/step-1e-9) * step
	scale := chartPlot / end
	p := panel{Title: title, Top: c.Height + panelHead - 8}
	top := c.Height + 2*panelHead
	c.Height = top + len(rows)*rowHeight + panelGap
	for i := 0; float64(i)*step < end+step/2; i++ {
		at := float64(i) * step
		p.Ticks = append(p.Ticks, tick{X: pixels(chartLeft + at*scale), From: top - 4, To: c.Height - panelGap,
			Label: top - 8, Text: fmt.Sprintf("%.4g", at)})
	}
	for i, r := range rows {
		r.Y = float64(top + i*rowHeight)
		r.Base = r.Y + rowBase
		r.X, r.W = pixels(chartLeft+r.X*scale), pixels(r.W*scale)
		r.After = pixels(r.X + r.W + 6)
		p.Rows = append(p.Rows, r)
	}
	c.Panels = append(c.Panels, p)
}

// tickStep returns 1, 2 or 5 times a power of ten, so that there are four to ten ticks.
func tickStep(end float64) float64 {
	if !(end > 0) || math.IsInf(end, 1) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(end)))
	switch digit := end / unit; {
	case digit < 2:
		return unit / 5
	case digit < 5:
		return unit / 2
	}
	return unit
}

// pixels rounds to hundredths of a pixel.
func pixels(v float64) float64 { return math.Round(v*100) / 100 }

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
	svg, err := r.Chart(other)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "stages.svg")
	if err := os.WriteFile(path, svg, 0o644); err != nil {
		return "", fmt.Errorf("cannot write the chart: %w", err)
	}
	return path, nil
}
