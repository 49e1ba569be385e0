package swappolicy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/privilege"
)

// Request is a change of a service that somebody asks for.
type Request struct {
	Name string // of the service
	Verb Verb

	// The version that runs afterwards, for verbs other than Remove; nothing for the
	// version of the image, which needs no signature.
	Digest     string // of the manifest: sha256:HEX
	Signatures []string
	New        *bundle.Bundle

	Image *bundle.Bundle // the version of the image; nil if the image has no such service
}

// RefusedError is returned for a change that the policy does not allow.
type RefusedError struct {
	Name  string
	Verb  Verb
	Why   string
	Allow string           // what to change in the policy to allow it
	Gains []privilege.Gain // that are not allowed
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the policy does not allow to %s service %s: %s; to allow it, %s", e.Verb, e.Name, e.Why, e.Allow)
}

// Check returns a *RefusedError if the policy does not allow a change. Privileges are
// compared with those of the image's service, so that they do not depend on which
// versions ran before.
func (p *Policy) Check(r Request) error {
	if err := p.CheckVerb(r.Name, r.Verb, r.Image != nil); err != nil {
		return err
	}
	allowed := p.ruleFor(r.Name)
	switch {
	case r.Verb == Remove, r.Digest == "" && r.Image != nil && (r.New == nil || r.New == r.Image):
		return nil
	case r.Digest == "" || r.New == nil:
		return fmt.Errorf("cannot check the policy for service %s: there is no artifact", r.Name)
	}
	if err := p.checkSignature(r, allowed.SignedBy); err != nil {
		return err
	}
	return p.checkGains(r, allowed.Gain)
}

// CheckVerb returns a *RefusedError if the policy does not allow a change of a service by
// any version.
func (p *Policy) CheckVerb(name string, verb Verb, inImage bool) error {
	needed := []Verb{verb}
	if !inImage && (verb == Swap || verb == Rollback) {
		needed = append(needed, Add)
	}
	allow := p.ruleFor(name).Allow
	missing := slices.DeleteFunc(needed, func(v Verb) bool { return slices.Contains(allow, v) })
	if len(missing) == 0 {
		return nil
	}
	why := fmt.Sprintf("%s is not in allow", join(missing))
	if slices.Contains(missing, Add) {
		why += ", and the image has no such service"
	}
	return p.refuse(Request{Name: name, Verb: verb}, why, fmt.Sprintf("allow: [%s]", join(append(slices.Clone(allow), missing...))))
}

// ruleFor returns the rule of the first entry that matches a service, with the lists of the
// default in place of those that it does not have.
func (p *Policy) ruleFor(name string) rule {
	found := p.file.Default
	if s := p.entry(name); s != nil {
		if s.Allow != nil {
			found.Allow = s.Allow
		}
		if s.SignedBy != nil {
			found.SignedBy = s.SignedBy
		}
		if s.Gain != nil {
			found.Gain = s.Gain
		}
	}
	if found.SignedBy == nil { // Keys are there to be used.
		found.SignedBy = slices.Sorted(maps.Keys(p.keys))
	}
	return found
}

func (p *Policy) entry(name string) *service {
	i := slices.IndexFunc(p.file.Services, func(s service) bool {
		ok, err := path.Match(s.Name, name)
		return ok && err == nil
	})
	if i < 0 {
		return nil
	}
	return &p.file.Services[i]
}

// refuse returns an error that says which line would allow a request.
func (p *Policy) refuse(r Request, why, line string) *RefusedError {
	entry := r.Name
	if s := p.entry(r.Name); s != nil {
		entry = s.Name
	}
	return &RefusedError{Name: r.Name, Verb: r.Verb, Why: why,
		Allow: fmt.Sprintf("%s of the image needs the line %s in the entry of services with the name %s (docs/swap-policy.md)", p.path, line, entry)}
}

// checkSignature wants a signature by one of the keys.
func (p *Policy) checkSignature(r Request, names []string) error {
	if len(names) == 0 {
		return nil
	}
	why := "the artifact has no signature"
	for _, file := range r.Signatures {
		for _, name := range names {
			err := p.keys[name].Verify(r.Digest, file)
			if err == nil {
				return nil
			}
			why = err.Error()
		}
	}
	var keys []string
	for _, name := range names {
		keys = append(keys, name+" ("+p.keys[name].ID()+")")
	}
	e := p.refuse(r, fmt.Sprintf("a signature by %s is needed: %s", strings.Join(keys, " or "), why), "")
	e.Allow = fmt.Sprintf("sign it with one of these keys (keelson sign), or list the key under keys in %s of the image", p.path)
	return e
}

// checkGains wants no privileges beyond those of the image's service, other than those
// that are listed.
func (p *Policy) checkGains(r Request, listed []string) error {
	gains, err := privilege.Compare(r.Image, r.New)
	if err != nil {
		return fmt.Errorf("cannot compare the privileges of service %s: %w", r.Name, err)
	}
	gains = slices.DeleteFunc(gains, func(g privilege.Gain) bool {
		return slices.ContainsFunc(listed, func(name string) bool { return matches(name, g) })
	})
	if len(gains) == 0 {
		return nil
	}
	const most = 20 // that are shown
	var whys, lines []string
	for _, g := range gains {
		line := fmt.Sprintf("%q", suggestion(g))
		if slices.Contains(lines, line) {
			continue
		}
		if len(lines) == most {
			whys = append(whys, "and more")
			break
		}
		lines = append(lines, line)
		whys = append(whys, g.String())
	}
	for _, name := range listed {
		lines = append(lines, fmt.Sprintf("%q", name))
	}
	than := "the image's"
	if r.Image == nil {
		than = "a service has by default"
	}
	e := p.refuse(r, "it asks for more privileges than "+than+": "+strings.Join(whys, "; "), "gain: ["+strings.Join(lines, ", ")+"]")
	e.Gains = gains
	return e
}

// matches reports whether a name in the policy stands for a privilege: * for all, FIELD for
// a field and those below it, FIELD=ITEM for one item.
func matches(name string, g privilege.Gain) bool {
	field, item, hasItem := strings.Cut(name, "=")
	below := g.Field == field || strings.HasPrefix(g.Field, field+".")
	return name == "*" || below && (!hasItem || item == g.Item)
}

// suggestion returns the name of a privilege for the policy. One name is enough for a
// capability in all sets.
func suggestion(g privilege.Gain) string {
	const sets = "process.capabilities"
	if strings.HasPrefix(g.Field, sets+".") && g.Item != "" {
		return sets + "=" + g.Item
	}
	return g.Name()
}

func join(list []Verb) string {
	var words []string
	for _, v := range list {
		words = append(words, string(v))
	}
	return strings.Join(words, ", ")
}
