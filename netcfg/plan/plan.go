package plan

import (
	"fmt"

	"keelson/netcfg/config"
)

// Result is a plan.
type Result struct {
	Changes  []Change            // in their order
	Links    map[string][]string // of each link of the configuration, the kernel's names; empty while it is not there
	Missing  []string            // links of the configuration that are not there, in their order
	Problems []string            // what cannot be done, and why
}

// planner makes a plan.
type planner struct {
	want  config.Config
	state State
	own   Own
	Result
	made map[string]bool // names of links that the plan adds
}

// Plan returns what leads from state to want.
func Plan(want config.Config, state State, own Own) Result {
	p := &planner{want: want, state: state, own: own, made: map[string]bool{}, Result: Result{Links: map[string][]string{}}}
	p.resolve()
	p.removeLinks()
	p.removeRules()
	p.removeRoutes()
	p.removeAddresses()
	for i := range want.Links {
		p.links(&want.Links[i])
	}
	p.addresses()
	p.routes()
	p.rules()
	return p.Result
}

func (p *planner) add(c Change) { p.Changes = append(p.Changes, c) }

func (p *planner) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}
