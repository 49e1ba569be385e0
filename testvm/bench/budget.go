package bench

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
)

// budgetJSON is what each figure may come to, by the names of the table. Figures
// that got better are written down here, so that they stay.
//
//go:embed budget.json
var budgetJSON []byte

// allowance is by how much a figure may be over its budget. Other versions of
// the kernel and of Go move figures a little.
const allowance = 0.03

// Budget reads what each figure may come to, in seconds and bytes.
func Budget() (map[string]float64, error) {
	var b map[string]float64
	if err := json.Unmarshal(budgetJSON, &b); err != nil {
		return nil, fmt.Errorf("cannot read budget.json: %w", err)
	}
	return b, nil
}

// Over lists the figures that are over their budgets, and the budgets of which
// there is no figure.
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

// all are the figures, those of sizes too.
func (r *Report) all() []Figure {
	return append(slices.Clone(r.Figures),
		Figure{Name: "image packed", Unit: "B", Value: float64(r.Sizes.ImagePacked)},
		Figure{Name: "image unpacked", Unit: "B", Value: float64(r.Sizes.ImageUnpacked)},
		Figure{Name: "guest packed", Unit: "B", Value: float64(r.Sizes.GuestPacked)},
		Figure{Name: "guest unpacked", Unit: "B", Value: float64(r.Sizes.GuestUnpacked)})
}
