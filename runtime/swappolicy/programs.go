package swappolicy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrProgramsRefused is returned for a change of keelson's own programs that the policy does
// not allow.
var ErrProgramsRefused = errors.New("the policy does not allow that")

// CheckPrograms returns an error if the policy does not allow that keelson's own programs are
// swapped or rolled back to the version with this digest and these signatures. An empty
// digest stands for the programs of the image, which need no signature. They are never
// allowed without a key: whoever can replace them can replace everything.
func (p *Policy) CheckPrograms(verb Verb, digest string, signatures []string) error {
	rule := p.file.Programs
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s (docs/swap-policy.md)", ErrProgramsRefused, fmt.Sprintf(format, args...))
	}
	if !slices.Contains(rule.Allow, verb) {
		return refuse("%s of the image needs the entry programs with allow: [%s] and, in signed-by, the name of a key", p.path, join(append(slices.Clone(rule.Allow), verb)))
	}
	if digest == "" {
		return nil
	}
	why := "the artifact has no signature"
	var keys []string
	for _, name := range rule.SignedBy {
		for _, file := range signatures {
			err := p.keys[name].Verify(digest, file)
			if err == nil {
				return nil
			}
			why = err.Error()
		}
		keys = append(keys, name+" ("+p.keys[name].ID()+")")
	}
	return refuse("a signature by %s is needed: %s; sign it with such a key (keelson sign), or list the key in programs.signed-by of %s of the image",
		strings.Join(keys, " or "), why, p.path)
}

func (p *Policy) checkProgramsRule() error {
	rule := p.file.Programs
	for i, verb := range rule.Allow {
		if verb != Swap && verb != Rollback {
			return fmt.Errorf("programs.allow[%d]: %q is not one of %v", i, verb, []Verb{Swap, Rollback})
		}
	}
	for i, name := range rule.SignedBy {
		if _, ok := p.keys[name]; !ok {
			return fmt.Errorf("programs.signed-by[%d]: there is no key %q in keys", i, name)
		}
	}
	if len(rule.Allow) > 0 && len(rule.SignedBy) == 0 {
		return errors.New("programs.signed-by: name at least one key: programs without a signature are never used")
	}
	return nil
}
