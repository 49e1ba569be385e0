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

// sectionNames are the keys of a file, in the order of the method YAML.
var sectionNames = []string{"kernel", "init", "onboot", "onshutdown", "services", "files", "volumes"}

// YAML returns the file unchanged, or several merged into one, with paths relative to
// the last one's folder and without comments and anchors.
func (d *Document) YAML() ([]byte, error) {
	if len(d.parts) == 1 {
		return d.parts[0].Source, nil
	}
	text, err := d.merged()
	if err != nil {
		return nil, fmt.Errorf("cannot merge the files: %w", err)
	}
	// The YAML package must read back what it has written.
	again, err := Parse("merged", text)
	if err == nil && !reflect.DeepEqual(again.Config, d.Config) {
		err = errors.New("the merged file does not have the same meaning")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot merge the files: %w", err)
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

// appended does for values what Document.add does for a Config.
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

// rebaseSection does for values what Config.rebase does.
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

// scalar is a value that is not a string, as the file has it: a mode stays 0644.
type scalar string

// MarshalYAML writes the value unchanged.
func (s scalar) MarshalYAML() ([]byte, error) { return []byte(s), nil }

// plain returns the file's content with aliases and merge keys expanded.
func (p *part) plain() (yaml.MapSlice, error) {
	if len(p.tree.Docs) == 0 || p.tree.Docs[0].Body == nil {
		return nil, nil
	}
	r := plainer{anchors: map[string]ast.Node{}, left: plainLimit}
	body, _ := r.value(p.tree.Docs[0].Body).(yaml.MapSlice)
	if r.left < 0 {
		return nil, fmt.Errorf("%s: aliases expand to more than %d values", p.Name, plainLimit)
	}
	return body, nil
}

// plainLimit bounds the expansion of nested or recursive aliases.
const plainLimit = 1 << 17

// plainer expands nodes in the order of the file, so that an anchor is known before its
// aliases.
type plainer struct {
	anchors map[string]ast.Node
	left    int // of plainLimit
}

// value returns a node as a string, scalar, []any or yaml.MapSlice.
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
