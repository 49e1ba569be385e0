package bench

import (
	"slices"
	"testing"
)

func TestOver(t *testing.T) {
	r := &Report{
		Figures: []Figure{{Name: "power off", Unit: "s", Value: 0.2}, {Name: "memory in use", Unit: "B", Value: 100e6}},
		Sizes:   Sizes{GuestPacked: 10e6},
	}
	got := r.Over(map[string]float64{"power off": 0.195, "memory in use": 90e6, "guest packed": 5e6, "guests": 1})
	want := []string{
		"guest packed: 10.0 MB, 100.0 % over its budget of 5.0 MB",
		"guests: was not measured",
		"memory in use: 100.0 MB, 11.1 % over its budget of 90.0 MB",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Every budget is that of a figure.
func TestBudget(t *testing.T) {
	for _, processor := range Processors {
		budget, err := Budget(processor)
		if err != nil {
			t.Fatal(err)
		}
		r := &Report{Runs: []Run{{Onboot: make([]float64, 3), Services: make([]float64, 3)}}}
		r.Summarize()
		if over := r.Over(budget); len(over) > 0 {
			t.Error(processor, over)
		}
	}
	if _, err := Budget("486"); err == nil {
		t.Error("any processor has a budget")
	}
}
