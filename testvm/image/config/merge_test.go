package config

import (
	"strings"
	"testing"
)

// Merge keys are those of YAML 1.1: explicit keys win, wherever they stand.
func TestMerge(t *testing.T) {
	for name, source := range map[string]string{
		"flow":    "services:\n  - &b {name: a, image: x, net: new}\n  - {<<: *b, name: b}\n",
		"block":   "services:\n  - &b\n    name: a\n    image: x\n    net: new\n  - <<: *b\n    name: b\n",
		"behind":  "services:\n  - &b\n    name: a\n    image: x\n    net: new\n  - name: b\n    <<: *b\n",
		"list":    "services:\n  - &b {name: a, image: x}\n  - &c {name: c, image: y, net: new}\n  - {<<: [*b, *c], name: b}\n",
		"chained": "services:\n  - &b {name: a, image: x}\n  - &c {<<: *b, name: c, net: new}\n  - {<<: *c, name: b}\n",
	} {
		d, err := Parse("x.yml", []byte(source))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		all := d.Config.Services
		if last := all[len(all)-1]; last.Name != "b" || last.Image != "x" || last.Net != "new" || all[0].Name != "a" {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func TestBadMerge(t *testing.T) {
	for name, source := range map[string]string{
		"key twice":       "services:\n  - &b {name: a, image: x}\n  - {<<: *b, name: b, name: c}\n",
		"no anchor":       "services:\n  - {<<: *b, name: b, image: x}\n",
		"no mapping":      "services:\n  - {name: &b a, image: x}\n  - {<<: *b, name: b, image: x}\n",
		"own mapping":     "services:\n  - &b {<<: *b, name: b, image: x, comand: [a]}\n",
		"itself twice":    "services:\n  - &b {<<: [*b, *b], name: b}\n",
		"alias of itself": "services:\n  - name: &b *b\n  - {<<: *b, name: b}\n",
		"unknown field":   "services:\n  - &b {name: a, image: x}\n  - {<<: *b, name: b, comand: [a]}\n",
	} {
		if _, err := Parse("x.yml", []byte(source)); err == nil || !strings.HasPrefix(err.Error(), "x.yml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
