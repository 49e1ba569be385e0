package privilege

import (
	"maps"
	"slices"
	"strings"

	"keelson/runtime/bundle"
)

// Gain is a privilege of a new bundle beyond the old one.
type Gain struct {
	Field string `json:"field"`          // of config.json; a field of runtime.json begins with "runtime."
	Item  string `json:"item,omitempty"` // the part of Field that is gained, such as CAP_NET_ADMIN
	Was   string `json:"was"`            // the old value as JSON, shortened; "none" if absent
	Is    string `json:"is"`             // the new value
	Why   string `json:"why"`            // what it means, for people
}

// Name returns FIELD=ITEM, by which a policy names the privilege, or FIELD.
func (g Gain) Name() string {
	if g.Item == "" {
		return g.Field
	}
	return g.Field + "=" + g.Item
}

// String returns the gain for people, on one line.
func (g Gain) String() string { return Shorten(g.Name()) + ": " + g.Why }

// Compare returns the privileges that new has beyond old, ordered by field. A nil old
// stands for a service without privileges: see least.
func Compare(old, new *bundle.Bundle) ([]Gain, error) {
	was, err := oldTree(old)
	if err != nil {
		return nil, err
	}
	is, gains, err := newTree(new)
	if err != nil {
		return nil, err
	}
	c := &comparison{old: was, new: is, gains: gains}
	diff("", was, is, c.judge)
	return c.gains, nil
}

// comparison collects the gains of a new bundle.
type comparison struct {
	old, new object
	gains    []Gain
}

// Bounds of what is recorded about a bundle that somebody else wrote. An item is what a
// person may have to write into a policy; without it, only the whole field can be allowed.
const (
	mostGains   = 1000
	longestItem = 200
)

// add records a gain.
func (c *comparison) add(field, item string, was, is any, why string) {
	if len(c.gains) >= mostGains {
		return
	}
	if len(item) > longestItem {
		item = ""
	}
	c.gains = append(c.gains, Gain{Field: field, Item: item, Was: short(was), Is: short(is), Why: why})
}

// judge is a visitor for diff, which adds the gains of a difference.
func (c *comparison) judge(field string, was, is any, leaf bool) bool {
	if rule := ruleFor(field); rule != nil {
		rule(c, field, was, is)
		return true
	}
	if leaf {
		c.changed(field, was, is)
	}
	return leaf
}

// changed records a difference that no rule knows to be harmless.
func (c *comparison) changed(field string, was, is any) {
	c.add(field, text(is), was, is, reason(field))
}

// visitor handles a difference. It returns true if it has handled the fields below, too.
// A leaf has none.
type visitor func(field string, was, is any, leaf bool) bool

// diff calls visit for each difference of two JSON values, the outer ones first, in the
// order of the fields.
func diff(field string, was, is any, visit visitor) {
	if same(was, is) {
		return
	}
	a, b, objects := bothObjects(was, is)
	if field != "" && visit(field, was, is, !objects) || !objects {
		return
	}
	keys := map[string]bool{}
	for _, o := range []object{a, b} {
		for key := range o {
			keys[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		diff(strings.TrimPrefix(field+"."+key, "."), a[key], b[key], visit)
	}
}

// bothObjects returns two values as objects if both are, or one is and the other is
// absent.
func bothObjects(was, is any) (a, b object, ok bool) {
	a, aOK := was.(object)
	b, bOK := is.(object)
	return a, b, (aOK || was == nil) && (bOK || is == nil) && (aOK || bOK)
}
