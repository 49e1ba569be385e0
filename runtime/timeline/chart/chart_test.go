package chart

import (
	"encoding/xml"
	"math"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
)

func TestTicks(t *testing.T) {
	for _, end := range []float64{0.004, 0.1, 0.43, 0.5, 0.61, 1, 1.732, 2, 7.04, 60} {
		if n := end / tickStep(end); n < 3.9 || n > 10.1 {
			t.Errorf("%v: %v ticks", end, n)
		}
	}
	if tickStep(0) != 1 || tickStep(math.NaN()) != 1 || tickStep(math.Inf(1)) != 1 {
		t.Error("no step for what is no time")
	}
}

// A boot is XML whatever the names are, has a bar for each step in its place, and marks the
// critical path. Names have room.
func TestBoot(t *testing.T) {
	long := "service " + strings.Repeat("x", 100)
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	text := Boot([]timeline.Step{
		{Name: "kernel", End: ms(400), Critical: true}, {Name: "all <&> \x00", Begin: ms(400), End: ms(900), Whole: true},
		{Name: long, Begin: ms(400), End: ms(2000), Critical: true}, {Name: "b", Begin: ms(500), End: ms(600)},
	})
	var c struct {
		Width float64 `xml:"width,attr"`
		Style string  `xml:"style"`
		Bars  []struct {
			Class string  `xml:"class,attr"`
			X     float64 `xml:"x,attr"`
			Width float64 `xml:"width,attr"`
		} `xml:"g>rect"`
	}
	if err := xml.Unmarshal(text, &c); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var classes []string
	for _, b := range c.Bars {
		classes = append(classes, b.Class)
		if b.X+b.Width > c.Width {
			t.Errorf("%+v lies outside of %v", b, c.Width)
		}
	}
	if got := strings.Join(classes, " "); got != "critical whole critical bar" || c.Bars[0].Width*4 != c.Bars[2].Width || c.Bars[0].X+c.Bars[0].Width != c.Bars[2].X {
		t.Errorf("%s, %+v", got, c.Bars)
	}
	if strings.Contains(c.Style, ".stock") || strings.Count(c.Style, ".critical") != 2 {
		t.Errorf("%s", c.Style)
	}
	if len(Boot(nil)) == 0 || strings.Contains(string(Boot(nil)), "NaN") {
		t.Errorf("nothing: %s", Boot(nil))
	}
}
