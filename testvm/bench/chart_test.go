package bench

import (
	"encoding/xml"
	"math"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/timeline/chart"
)

// svg is what the test looks at of a chart.
type svg struct {
	XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
	Width   float64  `xml:"width,attr"`
	Height  float64  `xml:"height,attr"`
	Style   string   `xml:"style"`
	Panels  []struct {
		Texts []string `xml:"text"`
		Bars  []struct {
			X      float64 `xml:"x,attr"`
			Y      float64 `xml:"y,attr"`
			Width  float64 `xml:"width,attr"`
			Height float64 `xml:"height,attr"`
		} `xml:"rect"`
	} `xml:"g"`
}

// The chart is XML, has one bar a stage, from above in the order of their
// beginnings, as wide as they are long and where they begin.
func TestChart(t *testing.T) {
	r := &Report{Name: "keel & son", Runs: []Run{booted()}}
	r.Summarize()
	text := r.Chart(Reference{Name: "other", ThirdOnboot: 0.7, ThirdRun: 1})
	var c svg
	if err := xml.Unmarshal(text, &c); err != nil || len(c.Panels) != 2 {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(text) > 10_000 || !strings.Contains(c.Style, "prefers-color-scheme: dark") {
		t.Errorf("%d bytes, style %q", len(text), c.Style)
	}
	both := []Stage{span("keel & son, onboot", 0, 0.07), span("keel & son, services", 0, 0.4), span("other, onboot", 0, 0.7), span("other, services", 0, 1)}
	stages := slices.DeleteFunc(slices.Clone(r.Stages), func(s Stage) bool { return s.Start < 0 || s.Start > 0.4 || s.Length == 0 })
	for i, want := range [][]Stage{both, stages} {
		p := c.Panels[i]
		if len(p.Bars) != len(want) {
			t.Fatalf("panel %d has %d bars, want %d\n%s", i, len(p.Bars), len(want), text)
		}
		longest := slices.MaxFunc(want, func(a, b Stage) int { return compare(a.Length, b.Length) })
		scale := p.Bars[slices.Index(want, longest)].Width / longest.Length
		above := 0.0
		for j, s := range want {
			b := p.Bars[j]
			if math.Abs(b.Width-scale*s.Length) > 0.05 || math.Abs(b.X-chart.Left-scale*s.Start) > 0.05 {
				t.Errorf("%s: bar %+v, scale %v", s.Name, b, scale)
			}
			if b.Y <= above || b.X+b.Width > c.Width || b.Y+b.Height > c.Height || b.Width <= 0 {
				t.Errorf("%s: bar %+v lies outside or on another", s.Name, b)
			}
			above = b.Y + b.Height - 1
			if !slices.Contains(p.Texts, s.Name) {
				t.Errorf("%q is not named: %q", s.Name, p.Texts)
			}
		}
	}
}
