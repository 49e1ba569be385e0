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

// Error is an error in a file.
type Error struct {
	File  string
	Line  int    // from 1; 0 if unknown
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

// Document is the merged content of one or several files, with the positions of their
// fields.
type Document struct {
	Config Config
	parts  []*part
}

// Input is a file to parse.
type Input struct {
	Name   string // in errors
	Source []byte
	Base   string // folder for relative paths in it, relative to the last file's folder; may be empty
}

// part is one file of a document.
type part struct {
	Input
	config Config
	tree   *ast.File
	first  map[string]int // index of its first entry in each list of the document
}

// Parse reads and checks a YAML file; name is its name in errors.
func Parse(name string, source []byte) (*Document, error) {
	return ParseAll([]Input{{Name: name, Source: source}})
}

// ParseAll reads files, merges them in order, and checks the result.
func ParseAll(inputs []Input) (*Document, error) {
	d := &Document{}
	for _, in := range inputs {
		p := &part{Input: in}
		if err := p.decode(&p.config); err != nil {
			return nil, err
		}
		if len(p.tree.Docs) > 1 {
			return nil, &Error{File: in.Name, Err: errors.New("only one YAML document is allowed in a file")}
		}
		p.config.rebase(in.Base)
		d.add(p)
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
	p := &part{Input: Input{Name: name + ": label org.mobyproject.config", Source: []byte(value)}}
	err := p.decode(&c)
	return c, err
}

func (p *part) decode(into any) (err error) {
	// The parser may panic on untrusted text; the program continues.
	defer func() {
		if r := recover(); r != nil {
			err = &Error{File: p.Name, Err: fmt.Errorf("cannot read YAML: %v", r)}
		}
	}()
	if p.tree, err = parser.ParseBytes(p.Source, 0, parser.AllowDuplicateMapKey()); err != nil {
		return p.wrap(err)
	}
	merge(p.tree)
	if len(p.tree.Docs) == 0 || p.tree.Docs[0].Body == nil {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict())
	if err := dec.DecodeFromNode(p.tree.Docs[0].Body, into); err != nil {
		return p.wrap(err)
	}
	return nil
}

// wrap adds file, line and field to an error of the YAML package.
func (p *part) wrap(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return &Error{File: p.Name, Err: err}
	}
	tk := ye.GetToken()
	e := &Error{File: p.Name, Err: errors.New(ye.GetMessage())}
	if tk.Position != nil {
		e.Line = tk.Position.Line
	}
	if p.tree != nil {
		e.Field = fieldOf(p.tree, tk)
	}
	return e
}

// Errorf returns an error about the field at path, such as "services[0].uid". If the
// file does not contain the field, the line is that of the nearest field above it.
func (d *Document) Errorf(path, format string, args ...any) error {
	return d.ErrorAt(path, fmt.Errorf(format, args...))
}

// ErrorAt is like Errorf for an error to wrap.
func (d *Document) ErrorAt(path string, err error) error {
	p, own := d.where(path)
	e := &Error{File: p.Name, Field: own, Err: err}
	for at := own; at != "" && e.Line == 0; at = parent(at) {
		e.Line = p.line(at)
	}
	return e
}

// line returns the line of the field at path, 0 if the file does not contain it.
func (p *part) line(path string) int {
	at, err := yaml.PathString("$." + quotePath(path))
	if err != nil {
		return 0
	}
	if n, err := at.FilterFile(p.tree); err == nil && n != nil && n.GetToken() != nil {
		return n.GetToken().Position.Line
	}
	return 0
}

// parent removes the last element of a path. Keys that contain a dot do not matter,
// because they have no fields below.
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// quotePath quotes keys that contain a dot, for the YAML package's path syntax.
func quotePath(path string) string {
	for _, key := range []string{"capabilities.add", "binds.add"} {
		path = strings.ReplaceAll(path, key, "'"+key+"'")
	}
	return path
}

// fieldOf returns the path of the node at tk.
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
