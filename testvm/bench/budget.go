package bench

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
)

// budgetJSON holds the limit of each figure on each of Processors, by the names of the table. An
// improved figure is entered here, so that the improvement lasts.
//
//go:embed budget.json
var budgetJSON []byte

// allowance is the tolerance of a budget: other versions of the kernel and of Go change
// figures slightly.
const allowance = 0.03

// Budget returns the limit of each figure on a processor, in seconds and bytes.
func Budget(processor string) (map[string]float64, error) {
	var b map[string]map[string]float64
	if err := json.Unmarshal(budgetJSON, &b); err != nil {
		return nil, fmt.Errorf("cannot read budget.json: %w", err)
	}
	if b[processor] == nil {
		return nil, fmt.Errorf("budget.json has no limits for processor %q", processor)
	}
	return b[processor], nil
}

// Over returns the figures that exceed their budgets, and the budgets without a figure.
func (r *Report) Over(budget map[string]float64) []string {
	var over []string
	left := make(map[string]bool)
	for name := range budget {
		left[name] = true
	}
	for _, f := range r.all() {
		most, ok := budget[f.Name]
		delete(left, f.Name)
		if ok && f.Value > most*(1+allowance) {
			over = append(over, fmt.Sprintf("%s: %s, %.1f %% over its budget of %s",
				f.Name, quantity(f.Value, f.Unit), (f.Value/most-1)*100, quantity(most, f.Unit)))
		}
	}
	for name := range left {
		over = append(over, name+": was not measured")
	}
	slices.Sort(over)
	return over
}

// all returns all figures, including sizes.
func (r *Report) all() []Figure {
	return append(slices.Clone(r.Figures),
		Figure{Name: "image packed", Unit: "B", Value: float64(r.Sizes.ImagePacked)},
		Figure{Name: "image unpacked", Unit: "B", Value: float64(r.Sizes.ImageUnpacked)},
		Figure{Name: "guest packed", Unit: "B", Value: float64(r.Sizes.GuestPacked)},
		Figure{Name: "guest unpacked", Unit: "B", Value: float64(r.Sizes.GuestUnpacked)})
}
