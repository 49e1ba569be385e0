package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Error is a mistake in a file.
type Error struct {
	File  string
	Line  int    // from 1; 0 if not known
	Field string // path of the field, such as services[0].uid; may be empty
	Err   error
}

func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d", where, e.Line)
	}
	if e.Field != "" {
		where += ": " + e.Field
	}
	return where + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Document is a parsed file that still knows where its fields stand.
type Document struct {
	Config Config
	Source []byte
	file   string
	tree   *ast.File
}

// Parse reads and checks a YAML file; name is its name in errors.
func Parse(name string, source []byte) (*Document, error) {
	d := &Document{Source: source, file: name}
	if err := d.decode(&d.Config); err != nil {
		return nil, err
	}
	if len(d.tree.Docs) > 1 {
		return nil, &Error{File: name, Err: errors.New("only one YAML document is allowed in a file")}
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// ParseLabel reads the value of an image's org.mobyproject.config label; name
// is the image's name in errors.
func ParseLabel(name, value string) (ImageConfig, error) {
	var c ImageConfig
	d := &Document{Source: []byte(value), file: name + ": label org.mobyproject.config"}
	err := d.decode(&c)
	return c, err
}

func (d *Document) decode(into any) (err error) {
	// A parser of untrusted text that panics must not take the program with it.
	defer func() {
		if r := recover(); r != nil {
			err = &Error{File: d.file, Err: fmt.Errorf("cannot read YAML: %v", r)}
		}
	}()
	if d.tree, err = parser.ParseBytes(d.Source, 0, parser.AllowDuplicateMapKey()); err != nil {
		return d.wrap(err)
	}
	merge(d.tree)
	if len(d.tree.Docs) == 0 || d.tree.Docs[0].Body == nil {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict())
	if err := dec.DecodeFromNode(d.tree.Docs[0].Body, into); err != nil {
		return d.wrap(err)
	}
	return nil
}

// wrap turns an error of the YAML package into one with file, line and field.
func (d *Document) wrap(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return &Error{File: d.file, Err: err}
	}
	tk := ye.GetToken()
	e := &Error{File: d.file, Err: errors.New(ye.GetMessage())}
	if tk.Position != nil {
		e.Line = tk.Position.Line
	}
	if d.tree != nil {
		e.Field = fieldOf(d.tree, tk)
	}
	return e
}

// Errorf is an error about the field at path, such as "services[0].uid". If
// the field itself is not written in the file, the nearest one above it gives
// the line.
func (d *Document) Errorf(path, format string, args ...any) error {
	return d.ErrorAt(path, fmt.Errorf(format, args...))
}

// ErrorAt is Errorf with an error to wrap.
func (d *Document) ErrorAt(path string, err error) error {
	e := &Error{File: d.file, Field: path, Err: err}
	for at := path; at != "" && e.Line == 0; at = parent(at) {
		p, perr := yaml.PathString("$." + quotePath(at))
		if perr != nil {
			continue
		}
		if n, ferr := p.FilterFile(d.tree); ferr == nil && n != nil && n.GetToken() != nil {
			e.Line = n.GetToken().Position.Line
		}
	}
	return e
}

// parent cuts the last element off a path; keys with a dot in them do not matter
// here, for they have no fields below.
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// quotePath quotes the keys that hold a dot for the YAML package's path syntax.
func quotePath(path string) string {
	for _, key := range []string{"capabilities.add", "binds.add"} {
		path = strings.ReplaceAll(path, key, "'"+key+"'")
	}
	return path
}

// fieldOf is the path of the node that stands at tk.
func fieldOf(file *ast.File, tk *token.Token) string {
	f := &finder{at: tk.Position}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(f, doc.Body)
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(f.path, "$"), ".")
}

type finder struct {
	at   *token.Position
	path string
}

func (f *finder) Visit(n ast.Node) ast.Visitor {
	tk := n.GetToken()
	if f.at != nil && tk != nil && tk.Position != nil &&
		tk.Position.Line == f.at.Line && tk.Position.Column == f.at.Column {
		f.path = n.GetPath()
	}
	return f
}
