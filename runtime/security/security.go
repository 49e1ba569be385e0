package security

import (
	"sort"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/privilege"
)

// Report is the assessment of a service.
type Report struct {
	Name     string    `json:"name"`
	Score    float64   `json:"score"`    // from 0, isolated, to 10, like root on the machine
	Rating   string    `json:"rating"`   // the score in a word
	Findings []Finding `json:"findings"` // worst first
}

// Reports are those of the services of a system.
type Reports struct {
	Reports  []Report `json:"reports"`
	Problems []string `json:"problems,omitempty"` // why some cannot be assessed
}

// Finding is something that a service may do beyond its own files and processes.
type Finding struct {
	Field  string  `json:"field"`          // of config.json
	Item   string  `json:"item,omitempty"` // the part of Field, such as CAP_NET_ADMIN
	Is     string  `json:"is"`             // the value, for people
	Why    string  `json:"why"`            // why it matters
	Advice string  `json:"advice"`         // what to write in the YAML; a comment where lines are to be removed
	Weight float64 `json:"weight"`         // the score of a service with this finding alone
}

// Assess returns what a bundle allows its service to do.
func Assess(b *bundle.Bundle) Report {
	a := newAssessment(b)
	for _, check := range []func(){
		a.user, a.capabilities, a.privileges, a.filter, a.namespaces,
		a.root, a.mounts, a.kernelPaths, a.devices, a.limits, a.delegation, a.hooks,
	} {
		check()
	}
	sort.SliceStable(a.findings, func(i, j int) bool { return a.findings[i].Weight > a.findings[j].Weight })
	score := scoreOf(a.findings)
	return Report{Name: b.Name, Score: score, Rating: rating(score), Findings: a.findings}
}

// scoreOf combines the weights of findings.
func scoreOf(findings []Finding) float64 {
	isolated := 1.0
	for _, f := range findings {
		isolated *= 1 - f.Weight/10
	}
	return 10 * (1 - isolated)
}

// rating returns a word for a score.
func rating(score float64) string {
	for _, r := range []struct {
		below float64
		word  string
	}{{1, "isolated"}, {4, "restricted"}, {7, "exposed"}, {9, "unsafe"}} {
		if score < r.below {
			return r.word
		}
	}
	return "like root"
}

// assessment collects the findings of one bundle.
type assessment struct {
	bundle  *bundle.Bundle
	spec    *specs.Spec
	process *specs.Process
	linux   *specs.Linux

	ownUsers bool // the container has a new user namespace
	hostRoot bool // the user of the process is root of the machine

	findings []Finding
}

func newAssessment(b *bundle.Bundle) *assessment {
	a := &assessment{bundle: b, spec: b.Spec, findings: []Finding{}}
	if a.spec == nil {
		a.spec = &specs.Spec{}
	}
	if a.process = a.spec.Process; a.process == nil {
		a.process = &specs.Process{}
	}
	if a.linux = a.spec.Linux; a.linux == nil {
		a.linux = &specs.Linux{}
	}
	ns := bundle.NamespaceOf(a.linux, specs.UserNamespace)
	a.ownUsers = ns != nil && ns.Path == ""
	if b.OwnUsers() { // The range is chosen on the machine, and never has its root.
		own := *a.linux
		own.UIDMappings = []specs.LinuxIDMapping{{HostID: bundle.UserRange, Size: bundle.UserRange}}
		own.GIDMappings = own.UIDMappings
		a.linux, a.ownUsers = &own, true
	}
	id, mapped := a.process.User.UID, true
	if a.ownUsers {
		id, mapped = bundle.OnMachine(a.linux.UIDMappings, id)
	}
	a.hostRoot = mapped && id == 0
	return a
}

// add records a finding, unless its weight is 0. Item and is may be the words of the
// author of the bundle.
func (a *assessment) add(weight float64, field, item, is, why, advice string) {
	if weight > 0 {
		a.findings = append(a.findings, Finding{
			Field: field, Item: privilege.Shorten(item), Is: privilege.Shorten(is), Why: why, Advice: advice, Weight: weight,
		})
	}
}

// asRoot returns the weight of something that files of root protect: a fraction of it if
// the service is not root of the machine.
func (a *assessment) asRoot(weight float64) float64 {
	if a.hostRoot || !a.ownUsers && a.has("CAP_DAC_OVERRIDE") {
		return weight
	}
	return weight / 10
}
