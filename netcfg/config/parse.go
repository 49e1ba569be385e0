package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Path is where an image has the configuration of its network.
const Path = "/etc/netcfg.yml"

// Limit is the size of the largest file, in bytes.
const Limit = 1 << 20

// Error is an error in a file.
type Error struct {
	File  string
	Line  int    // from 1; 0 if unknown
	Field string // path of the field, such as ethernets.eth0.mtu; may be empty
	Text  string
}

func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where += ":" + strconv.Itoa(e.Line)
	}
	if e.Field != "" {
		where += ": " + e.Field
	}
	return where + ": " + e.Text
}

// Parse parses a configuration. file is its name in errors. The error joins one Error for each
// mistake.
func Parse(text []byte, file string) (c Config, err error) {
	defer func() { // The parser may panic on hostile text.
		if r := recover(); r != nil {
			c, err = Config{}, &Error{File: file, Text: fmt.Sprintf("cannot read YAML: %v", r)}
		}
	}()
	if len(text) > Limit {
		return Config{}, &Error{File: file, Text: fmt.Sprintf("it has %d bytes; the limit is %d", len(text), Limit)}
	}
	r := &reader{name: file}
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&r.root); err != nil && !errors.Is(err, io.EOF) {
		r.explain(err)
		return Config{}, join(r.errs)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, &Error{File: file, Text: "only one YAML document is allowed"}
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	var wrong []*Error
	var links map[string]bool
	if err := strict.Decode(&r.file); err != nil && !errors.Is(err, io.EOF) {
		var whole bool
		if links, whole = r.explain(err); !whole {
			return Config{}, join(r.errs)
		}
		wrong, r.errs = r.errs, nil
	}
	c = r.config()
	r.errs = append(wrong, slices.DeleteFunc(r.errs, func(e *Error) bool { return e.follows(links) })...)
	if len(r.errs) > 0 {
		return Config{}, join(r.errs)
	}
	return c, nil
}

// follows reports whether an error may only follow from those of links whose fields could not be
// read.
func (e *Error) follows(links map[string]bool) bool {
	for id := range links {
		if strings.Contains("."+e.Field+".", "."+id+".") || slices.Contains(strings.Fields(e.Text), id) {
			return true
		}
	}
	return false
}

// join joins errors in the order of their lines.
func join(list []*Error) error {
	slices.SortStableFunc(list, func(a, b *Error) int { return cmp.Or(a.Line-b.Line, strings.Compare(a.Error(), b.Error())) })
	var errs []error
	for _, e := range list {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// reader checks a file and makes a Config of it.
type reader struct {
	name  string
	root  yaml.Node
	file  file
	ids   map[string][]string // see sections
	notes []string
	errs  []*Error
}

// errorf adds an error about a field, below network.
func (r *reader) errorf(field []string, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.name, Line: r.line(field), Field: strings.Join(field, "."), Text: fmt.Sprintf(format, args...)})
}

// in returns the path of a field in another one.
func in(field []string, more ...string) []string { return slices.Concat(field, more) }

// line returns the line of a field below network, or of the nearest one above it.
func (r *reader) line(field []string) int {
	n, line := &r.root, 0
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	for _, name := range append([]string{"network"}, field...) {
		key, value := child(n, name)
		if value == nil {
			break
		}
		line, n = key.Line, value
	}
	return line
}

// child returns the key and the value of a field of a mapping, or an element of a list.
func child(n *yaml.Node, name string) (key, value *yaml.Node) {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return nil, nil
}

// fieldAt returns the path below network of the field in a line that an error of the decoder is
// about; if the error does not say it, of the last one that begins there.
func (r *reader) fieldAt(line int, text string) []string {
	var found, exact, path []string
	note := func(key string, value *yaml.Node) {
		found = slices.Clone(path)
		if exact == nil && about(text, key, value) {
			exact = found
		}
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		switch n.Kind {
		case yaml.DocumentNode:
			for _, c := range n.Content {
				walk(c)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				path = append(path, n.Content[i].Value)
				if n.Content[i].Line == line {
					note(n.Content[i].Value, n.Content[i+1])
				}
				walk(n.Content[i+1])
				path = path[:len(path)-1]
			}
		case yaml.SequenceNode:
			for i, c := range n.Content {
				path = append(path, strconv.Itoa(i))
				if c.Line == line && c.Kind == yaml.ScalarNode {
					note("", c)
				}
				walk(c)
				path = path[:len(path)-1]
			}
		}
	}
	walk(&r.root)
	if exact != nil {
		found = exact
	}
	if len(found) > 0 && found[0] == "network" {
		found = found[1:]
	}
	return found
}

// about reports whether an error of the decoder names a field or its value.
func about(text, key string, value *yaml.Node) bool {
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return key == m[1]
	}
	if m := duplicateKey.FindStringSubmatch(text); m != nil {
		return strconv.Quote(key) == m[1]
	}
	if value.Kind != yaml.ScalarNode {
		return false
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		start, cut := strings.CutSuffix(m[3], "...")
		return m[3] != "" && (value.Value == m[3] || cut && strings.HasPrefix(value.Value, start))
	}
	return strings.Contains(text, strconv.Quote(value.Value))
}

// Messages of the decoder, which name Go's types.
var (
	lineOf       = regexp.MustCompile(`^line (\d+): `)
	unknownField = regexp.MustCompile(`^field (.*) not found( in type .*)?$`)
	wrongType    = regexp.MustCompile("(?s)^cannot unmarshal (\\S+)( `(.*)`)? into (.*)$")
	duplicateKey = regexp.MustCompile(`^mapping key (".*") already defined at line (\d+)$`)
)

// explain adds the errors of the decoder in the words of people. It returns the links with fields
// that could not be read, and whether the file has the other links as a whole.
func (r *reader) explain(err error) (links map[string]bool, whole bool) {
	links = map[string]bool{}
	texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	var several *yaml.TypeError
	if whole = errors.As(err, &several); whole {
		texts = several.Errors
	}
	for _, text := range texts {
		e := &Error{File: r.name, Text: text}
		var path []string
		if m := lineOf.FindStringSubmatch(text); m != nil {
			e.Line, _ = strconv.Atoi(m[1])
			e.Text = text[len(m[0]):]
			path = r.fieldAt(e.Line, e.Text)
			e.Field = strings.Join(path, ".")
		}
		m := unknownField.FindStringSubmatch(e.Text)
		if len(path) < 3 { // A section or a link: others may lack it.
			whole = false
		} else if m == nil {
			links[path[1]] = true
		}
		if m != nil {
			e.Text = "there is no field " + m[1]
			if e.Field == m[1] || strings.HasSuffix(e.Field, "."+m[1]) {
				e.Text = "there is no such field"
			}
		} else if m := wrongType.FindStringSubmatch(e.Text); m != nil {
			e.Text = "want " + wanted(m[4])
			if m[3] != "" {
				e.Text += ", not " + m[3]
			}
		} else if m := duplicateKey.FindStringSubmatch(e.Text); m != nil {
			e.Text = "it is there already, in line " + m[2]
		}
		r.errs = append(r.errs, e)
	}
	return links, whole
}

// wanted says what a type of Go is in YAML.
func wanted(goType string) string {
	switch strings.TrimPrefix(goType, "*") {
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	case "string":
		return "a text"
	}
	if strings.HasPrefix(goType, "[]") {
		return "a list"
	}
	return "fields with values"
}
