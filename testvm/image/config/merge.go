package config

import "github.com/goccy/go-yaml/ast"

// merge expands merge keys ("<<: *anchor") as YAML 1.1 defines (yaml.org/type/merge.html):
// a key of the mapping itself wins, then the first of several merged mappings. The YAML
// package refuses a key that is in both.
func merge(file *ast.File) {
	m := merger{anchors: map[string]ast.Node{}, active: map[ast.Node]bool{}}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(m, doc.Body)
		}
	}
}

// merger visits outer nodes first, in the order of the file, so that an anchor is known
// and its mapping merged before its aliases are visited.
type merger struct {
	anchors map[string]ast.Node
	active  map[ast.Node]bool // mappings and aliases being followed; they must not contain themselves
}

func (m merger) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AnchorNode:
		m.anchors[n.Name.String()] = n.Value
	case *ast.MappingNode:
		m.active[n] = true
		n.Values = m.merged(n.Values)
		delete(m.active, n)
	}
	return m
}

func (m merger) merged(values []*ast.MappingValueNode) []*ast.MappingValueNode {
	var own, sources []*ast.MappingValueNode
	has := map[string]bool{}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			sources = append(sources, v)
			continue
		}
		own, has[v.Key.String()] = append(own, v), true
	}
	for _, s := range sources {
		mappings, ok := m.mappings(s.Value)
		if !ok {
			own = append(own, s) // The decoder reports the error.
		}
		for _, v := range mappings {
			if key := v.Key.String(); !has[key] {
				own, has[key] = append(own, v), true
			}
		}
	}
	return own
}

// mappings returns the entries of a merge key's value: a mapping, or a list of mappings.
func (m merger) mappings(n ast.Node) ([]*ast.MappingValueNode, bool) {
	if m.active[n] {
		return nil, false
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		return m.mappings(n.Value)
	case *ast.AliasNode:
		to, ok := m.anchors[n.Value.String()]
		if !ok {
			return nil, false
		}
		m.active[n] = true // An anchor may contain an alias of itself.
		defer delete(m.active, n)
		return m.mappings(to)
	case *ast.MappingNode:
		return m.merged(n.Values), true
	case *ast.MappingValueNode:
		return m.merged([]*ast.MappingValueNode{n}), true
	case *ast.SequenceNode:
		var all []*ast.MappingValueNode
		for _, one := range n.Values {
			values, ok := m.mappings(one)
			if !ok {
				return nil, false
			}
			all = append(all, values...)
		}
		return all, true
	}
	return nil, false
}
