package swappolicy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"

	"keelson/runtime/artifact/signature"
	"keelson/runtime/readfile"
)

// Path is where an image has its policy.
const Path = "/etc/keelson/swap.yml"

// sizeLimit bounds the file.
const sizeLimit = 256 << 10

// Verb is a change of a service.
type Verb string

// The verbs.
const (
	Swap     Verb = "swap"     // replace it
	Add      Verb = "add"      // have one that the image does not have
	Remove   Verb = "remove"   // stop it and do not start it any more
	Rollback Verb = "rollback" // return to the version before
)

var verbs = []Verb{Swap, Add, Remove, Rollback}

// Policy is a policy that was read.
type Policy struct {
	path string // of its file
	file file
	keys map[string]signature.Key
}

// file is the content of the file.
type file struct {
	Keys     map[string]string `yaml:"keys"`
	Default  rule              `yaml:"default"`
	Services []service         `yaml:"services"`
	Programs programsRule      `yaml:"programs"`
}

// programsRule is what is allowed for keelson's own programs. The default does not apply to
// them.
type programsRule struct {
	Allow    []Verb   `yaml:"allow"`     // of Swap and Rollback
	SignedBy []string `yaml:"signed-by"` // names of keys, of which one is enough
}

// rule is what is allowed. A list that is nil is that of the default.
type rule struct {
	Allow    []Verb   `yaml:"allow"`
	SignedBy []string `yaml:"signed-by"` // names of keys, of which one is enough; empty: no signature is needed
	Gain     []string `yaml:"gain"`      // names of privileges
}

type service struct {
	Name string `yaml:"name"` // a pattern of path.Match
	rule `yaml:",inline"`
}

// Load reads the policy at path. If there is no file, the policy allows services of
// the image to be replaced and rolled back, without a gain of privileges. An error means that nothing
// is allowed.
func Load(path string) (*Policy, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return &Policy{path: path, file: file{Default: rule{Allow: []Verb{Swap, Rollback}}}}, nil
	}
	text, err := readfile.Limited(path, sizeLimit)
	if err != nil {
		return nil, fmt.Errorf("no swap is allowed, since the policy is not known: %w", err)
	}
	p, err := Parse(path, text)
	if err != nil {
		return nil, fmt.Errorf("cannot use the policy for swaps, so none is allowed: %w", err)
	}
	return p, nil
}

// Parse reads the text of a policy. Errors begin with path.
func Parse(path string, text []byte) (*Policy, error) {
	p := &Policy{path: path, keys: map[string]signature.Key{}}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.SetStrict(true)
	if err := d.Decode(&p.file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, plain(err))
	}
	var more any
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: only one YAML document is allowed", path)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// plain returns an error of the library as one line without names of types.
func plain(err error) error {
	var lines []string
	for line := range strings.Lines(strings.TrimPrefix(err.Error(), "yaml: ")) {
		line = strings.TrimSpace(line)
		if start, _, ok := strings.Cut(line, " not found in type "); ok {
			line = strings.Replace(start, "field", "unknown key", 1)
		}
		if start, _, ok := strings.Cut(line, " already set in type "); ok {
			line = strings.Replace(start, "field", "key", 1) + " occurs twice"
		}
		if line != "unmarshal errors:" {
			lines = append(lines, line)
		}
	}
	return errors.New(strings.Join(lines, "; "))
}

// check refuses values that can have no effect.
func (p *Policy) check() error {
	for name, text := range p.file.Keys {
		key, err := signature.ParseKey(text)
		if err != nil {
			return fmt.Errorf("keys.%s: %w", name, err)
		}
		p.keys[name] = key
	}
	if err := p.checkRule("default", p.file.Default); err != nil {
		return err
	}
	if err := p.checkProgramsRule(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, s := range p.file.Services {
		field := fmt.Sprintf("services[%d]", i)
		if _, err := path.Match(s.Name, ""); err != nil || s.Name == "" {
			return fmt.Errorf("%s.name: %q is not the name of a service or a pattern such as web-*", field, s.Name)
		}
		if seen[s.Name] {
			return fmt.Errorf("%s.name: %q occurs twice", field, s.Name)
		}
		seen[s.Name] = true
		if err := p.checkRule(field, s.rule); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policy) checkRule(field string, r rule) error {
	for i, verb := range r.Allow {
		if !slices.Contains(verbs, verb) {
			return fmt.Errorf("%s.allow[%d]: %q is not one of %v", field, i, verb, verbs)
		}
	}
	for i, name := range r.SignedBy {
		if _, ok := p.keys[name]; !ok {
			return fmt.Errorf("%s.signed-by[%d]: there is no key %q in keys", field, i, name)
		}
	}
	for i, name := range r.Gain {
		if privilege, item, hasItem := strings.Cut(name, "="); privilege == "" || strings.ContainsAny(privilege, " \t") || hasItem && item == "" {
			return fmt.Errorf("%s.gain[%d]: %q is not a privilege: want FIELD or FIELD=ITEM, as a refusal shows it", field, i, name)
		}
	}
	return nil
}
