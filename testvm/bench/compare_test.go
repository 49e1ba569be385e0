package bench

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Two images are booted in turn, and each pair has its own ratio.
func TestInTurn(t *testing.T) {
	order := ""
	c, err := inTurn(Options{Name: "A"}, Options{Name: "B"}, 3, func(o Options) (Run, error) {
		order += o.Name
		run := booted()
		// The host gets slower all the time, B is half as fast.
		run.Services = []float64{0, 0, float64(len(order))}
		if o.Name == "B" {
			run.Services[2] = 2 * (run.Services[2] - 1)
		}
		return run, nil
	})
	if err != nil || order != "ABABAB" {
		t.Fatalf("order %q, %v", order, err)
	}
	ratios := c.Ratios()
	i := slices.IndexFunc(ratios, func(r Ratio) bool { return r.Name == "/init to 3rd service" })
	if r := ratios[i]; r.A != 3 || r.B != 6 || r.Ratio != 2 || r.Least != 2 || r.Most != 2 {
		t.Errorf("got %+v", r)
	}
	var table bytes.Buffer
	c.WriteTable(&table)
	if !strings.Contains(table.String(), "in turn: 3") {
		t.Errorf("table:\n%s", table.String())
	}
	if _, err := inTurn(Options{}, Options{}, 0, nil); err == nil {
		t.Error("no pairs are compared")
	}
	boom := func(o Options) (Run, error) { return Parse("") }
	if _, err := inTurn(Options{}, Options{}, 2, boom); err == nil || !strings.Contains(err.Error(), "pair 1 of 2") {
		t.Errorf("a failed boot: %v", err)
	}
}

func TestMedian(t *testing.T) {
	for want, in := range map[float64][]float64{3: {9, 1, 3}, 2.5: {4, 1, 3, 2}, 7: {7}} {
		if got := median(in); got != want {
			t.Errorf("median of %v: %v", in, got)
		}
	}
}
