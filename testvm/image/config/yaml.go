package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// sectionNames are the keys of a file, in the order in which YAML writes them.
var sectionNames = []string{"kernel", "init", "onboot", "onshutdown", "services", "files", "volumes"}

// YAML is the file as it is written, or one file that says the same as several,
// with paths relative to the last one's folder, without comments and anchors.
func (d *Document) YAML() ([]byte, error) {
	if len(d.parts) == 1 {
		return d.parts[0].Source, nil
	}
	text, err := d.merged()
	if err != nil {
		return nil, fmt.Errorf("cannot write the files as one: %w", err)
	}
	// The YAML package has to write what it reads.
	again, err := Parse("merged", text)
	if err == nil && !reflect.DeepEqual(again.Config, d.Config) {
		err = errors.New("what is written does not mean the same")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot write the files as one: %w", err)
	}
	return text, nil
}

func (d *Document) merged() ([]byte, error) {
	sections := map[string]any{}
	for _, p := range d.parts {
		body, err := p.plain()
		if err != nil {
			return nil, err
		}
		for _, item := range body {
			name, _ := item.Key.(string)
			rebaseSection(name, item.Value, p.Base)
			sections[name] = appended(sections[name], item.Value)
		}
	}
	var out yaml.MapSlice
	for _, name := range sectionNames {
		if v := sections[name]; v != nil {
			out = append(out, yaml.MapItem{Key: name, Value: v})
		}
	}
	return yaml.Marshal(out)
}

// appended is what Document.add does, for values.
func appended(to, by any) any {
	switch by := by.(type) {
	case yaml.MapSlice:
		old, _ := to.(yaml.MapSlice)
		for _, item := range by {
			if item.Value == nil || item.Value == "" {
				continue
			}
			old = slices.DeleteFunc(old, func(o yaml.MapItem) bool { return o.Key == item.Key })
			old = append(old, item)
		}
		return old
	case []any:
		old, _ := to.([]any)
		return append(old, by...)
	}
	return to // An empty section.
}

// rebaseSection is Config.rebase, for values.
func rebaseSection(name string, value any, base string) {
	if base == "" || base == "." {
		return
	}
	key, rebased := "image", rebaseRef
	if name == "files" {
		key, rebased = "source", rebasePath
	}
	entries, _ := value.([]any)
	if kernel, ok := value.(yaml.MapSlice); ok {
		entries = []any{kernel}
	}
	for i, e := range entries {
		if ref, ok := e.(string); ok {
			entries[i] = rebaseRef(ref, base)
		}
		m, _ := e.(yaml.MapSlice)
		for j, item := range m {
			if ref, ok := item.Value.(string); ok && item.Key == key && ref != "" {
				m[j].Value = rebased(ref, base)
			}
		}
	}
}

// scalar is a value that is no string, as it is written: a mode is 0644.
type scalar string

// MarshalYAML writes it so again.
func (s scalar) MarshalYAML() ([]byte, error) { return []byte(s), nil }

// plain is the file's content with aliases and merge keys put in place.
func (p *part) plain() (yaml.MapSlice, error) {
	if len(p.tree.Docs) == 0 || p.tree.Docs[0].Body == nil {
		return nil, nil
	}
	r := plainer{anchors: map[string]ast.Node{}, left: plainLimit}
	body, _ := r.value(p.tree.Docs[0].Body).(yaml.MapSlice)
	if r.left < 0 {
		return nil, fmt.Errorf("%s: aliases make more than %d values of it", p.Name, plainLimit)
	}
	return body, nil
}

// plainLimit bounds what aliases of aliases, or of themselves, grow to.
const plainLimit = 1 << 17

// plainer reads nodes in the order of the file, so that an anchor comes before its
// aliases.
type plainer struct {
	anchors map[string]ast.Node
	left    int // of plainLimit
}

// value is a node as a string, scalar, []any or yaml.MapSlice.
func (p *plainer) value(n ast.Node) any {
	if p.left--; p.left < 0 {
		return nil
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.AnchorNode:
		p.anchors[n.Name.String()] = n.Value
		return p.value(n.Value)
	case *ast.AliasNode:
		return p.value(p.anchors[n.Value.String()])
	case *ast.TagNode:
		return p.value(n.Value)
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.SequenceNode:
		list := []any{}
		for _, v := range n.Values {
			list = append(list, p.value(v))
		}
		return list
	case *ast.MappingNode:
		return p.mapping(n.Values)
	case *ast.MappingValueNode:
		return p.mapping([]*ast.MappingValueNode{n})
	}
	return scalar(strings.TrimSpace(n.GetToken().Value))
}

func (p *plainer) mapping(values []*ast.MappingValueNode) yaml.MapSlice {
	m := yaml.MapSlice{}
	for _, v := range values {
		key := v.Key.String()
		if s, ok := v.Key.(*ast.StringNode); ok {
			key = s.Value
		}
		m = append(m, yaml.MapItem{Key: key, Value: p.value(v.Value)})
	}
	return m
}
