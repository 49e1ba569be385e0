// Package chart draws bars over a time axis as SVG 1.1, in light and dark (CSS
// prefers-color-scheme): the steps of a boot, and those that the benchmark measures. It has no
// template: the packages for them would add megabytes to a program of the guest.
package chart

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"unicode/utf8"

	"keelson/runtime/timeline"
)

// Geometry, in pixels.
const (
	Left       = 170 // where zero is
	plot       = 580 // from zero to the end of the time axis; numbers follow it
	right      = 110 // for these
	rowHeight  = 20
	barHeight  = 14
	rowBase    = 11 // of a row's text, from the top of its bar
	panelHead  = 24 // for a panel's title, and then for its ticks
	panelGap   = 16
	letter     = 7 // width of one, at most on average
	nameLimit  = 60
	labelSpace = 8
)

// Classes of bars.
const (
	Bar      = "bar"
	Other    = "stock"    // of another program
	Critical = "critical" // on the critical path
	Whole    = "whole"    // consists of others
)

// colours are those of classes, in light and dark.
var colours = [][3]string{
	{Bar, "#2f6fba", "#58a6ff"}, {Other, "#b06a1c", "#e09b4c"}, {Critical, "#c8442b", "#ff7b5f"}, {Whole, "#b8c0c8", "#4a525b"},
}

// Row is a bar, with times in seconds.
type Row struct {
	Name, Class, Text string // Text follows the bar
	Begin, Length     float64
}

// Chart is a picture of panels, one below the other.
type Chart struct {
	title  string
	left   float64
	height int
	used   []string // classes
	body   bytes.Buffer
}

// New returns an empty chart. names are those of all its rows: long ones get more room.
func New(title string, names ...string) *Chart {
	c := &Chart{title: title, left: Left}
	for _, name := range names {
		c.left = max(c.left, float64(min(utf8.RuneCountInString(name), nameLimit)*letter+2*labelSpace))
	}
	return c
}

// Add adds a panel below the others. Its axis ends at or after end, in seconds.
func (c *Chart) Add(title string, end float64, rows []Row) {
	step := tickStep(end)
	end = max(math.Ceil(end/step-1e-9)*step, step)
	scale := plot / end
	b := &c.body
	fmt.Fprintf(b, "\n<g class=\"panel\">\n<text x=\"%v\" y=\"%d\" class=\"title\">%s</text>", c.left, c.height+panelHead-8, html.EscapeString(title))
	top := c.height + 2*panelHead
	c.height = top + len(rows)*rowHeight + panelGap
	for i := 0; float64(i)*step < end+step/2; i++ {
		at := float64(i) * step
		x := pixels(c.left + at*scale)
		fmt.Fprintf(b, "\n<line class=\"grid\" x1=\"%v\" x2=\"%v\" y1=\"%d\" y2=\"%d\"/>", x, x, top-4, c.height-panelGap)
		fmt.Fprintf(b, "\n<text class=\"number\" x=\"%v\" y=\"%d\" text-anchor=\"middle\">%.4g</text>", x, top-8, at)
	}
	for i, r := range rows {
		y := top + i*rowHeight
		x, w := pixels(c.left+r.Begin*scale), pixels(r.Length*scale)
		name := []rune(r.Name)
		if len(name) > nameLimit {
			name = append(name[:nameLimit-1], '…')
		}
		fmt.Fprintf(b, "\n<text x=\"%v\" y=\"%d\" text-anchor=\"end\">%s</text>", c.left-labelSpace, y+rowBase, html.EscapeString(timeline.OneLine(string(name))))
		fmt.Fprintf(b, "\n<rect class=\"%s\" x=\"%v\" y=\"%d\" width=\"%v\" height=\"%d\"/>", r.Class, x, y, w, barHeight)
		fmt.Fprintf(b, "\n<text class=\"number\" x=\"%v\" y=\"%d\">%s</text>", pixels(x+w+6), y+rowBase, html.EscapeString(r.Text))
		if !slices.Contains(c.used, r.Class) {
			c.used = append(c.used, r.Class)
		}
	}
	b.WriteString("\n</g>")
}

// SVG returns the picture.
func (c *Chart) SVG() []byte {
	var b bytes.Buffer
	width := c.left + plot + right
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %v %d\" width=\"%v\" height=\"%d\" role=\"img\" aria-labelledby=\"title\">\n", width, c.height, width, c.height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<style>\ntext { font: 12px sans-serif; fill: #24292f }\ntext.title { font-weight: bold }\n.number { fill: #57606a }\n", html.EscapeString(c.title))
	c.fills(&b, 1)
	b.WriteString(".grid { stroke: #8c959f; stroke-opacity: .35 }\n@media (prefers-color-scheme: dark) {\ntext { fill: #e6edf3 }\n.number { fill: #9da7b3 }\n")
	c.fills(&b, 2)
	b.WriteString("}\n</style>")
	b.Write(c.body.Bytes())
	b.WriteString("\n</svg>\n")
	return b.Bytes()
}

func (c *Chart) fills(b *bytes.Buffer, scheme int) {
	for _, colour := range colours {
		if slices.Contains(c.used, colour[0]) {
			fmt.Fprintf(b, ".%s { fill: %s }\n", colour[0], colour[scheme])
		}
	}
}

// Boot draws the steps of a boot, with the critical path marked.
func Boot(steps []timeline.Step) []byte {
	var rows []Row
	var names []string
	for _, s := range steps {
		class := Bar
		switch {
		case s.Whole:
			class = Whole
		case s.Critical:
			class = Critical
		}
		length := s.Length().Seconds()
		rows = append(rows, Row{Name: s.Name, Class: class, Begin: s.Begin.Seconds(), Length: length, Text: fmt.Sprintf("%.0f ms", length*1e3)})
		names = append(names, s.Name)
	}
	c := New("The boot, step by step", names...)
	c.Add("Steps of the boot, seconds since the kernel started; red: the critical path", timeline.End(steps).Seconds(), rows)
	return c.SVG()
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
