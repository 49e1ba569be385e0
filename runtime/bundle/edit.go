package bundle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Edit is what a runtime is to read that differs from config.json. What is zero
// stays as the file has it.
type Edit struct {
	Terminal    *bool         // process.terminal
	OOMScoreAdj *int          // process.oomScoreAdj, where the file sets none
	Env         []string      // appended to process.env
	Mounts      []specs.Mount // appended to mounts
}

// Edited returns config.json for a runtime that reads it in another folder: with
// e, and with absolute paths where config.md resolves them against the bundle
// (root.path, the source of a bind mount). All else is the file's own text: a
// runtime may know fields that this version of the specification does not have.
func (b *Bundle) Edited(e Edit) ([]byte, error) {
	text, err := edit(b.text, b, e)
	if b.text == nil || errors.Is(err, errAmbiguous) {
		// In Spec, Go's decoder has decided which of two fields counts.
		if text, err = json.Marshal(b.Spec); err == nil {
			text, err = edit(text, b, e)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot change %s: %w", filepath.Join(b.Dir, ConfigFile), err)
	}
	return text, nil
}

func edit(text []byte, b *Bundle, e Edit) ([]byte, error) {
	ed := editor{text: text}
	top := ed.object(space(text, 0))
	ed.set(ed.object(ed.find(top, "root")), "path", b.Rootfs())
	process := ed.object(ed.find(top, "process"))
	if e.Terminal != nil {
		ed.set(process, "terminal", *e.Terminal)
	}
	if e.OOMScoreAdj != nil && b.Spec.Process.OOMScoreAdj == nil {
		ed.set(process, "oomScoreAdj", *e.OOMScoreAdj)
	}
	if len(e.Env) > 0 {
		ed.set(process, "env", slices.Concat(b.Spec.Process.Env, e.Env))
	}
	ed.mounts(top, b, e.Mounts)
	return ed.apply()
}

// mounts makes the sources of binds absolute, and appends mounts.
func (ed *editor) mounts(top object, b *Bundle, more []specs.Mount) {
	relative := func(m specs.Mount) bool { return isBind(m) && !filepath.IsAbs(m.Source) }
	at := ed.find(top, "mounts")
	switch {
	case len(b.Spec.Mounts) == 0 && len(more) > 0:
		ed.set(top, "mounts", more)
		return
	case len(more) == 0 && !slices.ContainsFunc(b.Spec.Mounts, relative):
		return
	}
	list, end, err := entries(ed.text, at)
	if err != nil || len(list) != len(b.Spec.Mounts) {
		ed.fail(cmp.Or(err, errAmbiguous))
		return
	}
	for i, m := range b.Spec.Mounts {
		if relative(m) {
			ed.set(ed.object(list[i].from), "source", filepath.Join(b.Dir, m.Source))
		}
	}
	for _, m := range more {
		ed.replace(end, end, ","+ed.encode(m))
	}
}

// isBind reports whether a runtime takes the source of m for a path.
func isBind(m specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// errAmbiguous is returned for an object with a field that is there twice:
// runtimes differ in which one they take.
var errAmbiguous = errors.New("a field is there twice")

// editor changes places in a JSON text and leaves the rest alone, numbers and
// white space included. Its first error ends in apply.
type editor struct {
	text    []byte
	changes []change
	err     error
}

// change puts text in the place of the bytes from..to.
type change struct {
	from, to int
	text     string
}

// object is a JSON object of the text; start is the index of its first byte.
type object struct {
	start  int
	fields []entry
}

func (ed *editor) object(start int) object {
	fields, _, err := entries(ed.text, start)
	ed.fail(err)
	return object{start, fields}
}

func (ed *editor) fail(err error) {
	if ed.err == nil {
		ed.err = err
	}
}

func (ed *editor) replace(from, to int, text string) {
	ed.changes = append(ed.changes, change{from, to, text})
}

func (ed *editor) encode(v any) string {
	text, err := json.Marshal(v)
	ed.fail(err)
	return string(text)
}

// find returns the index of a field's value, -1 when there is none.
func (ed *editor) find(in object, name string) int {
	if f := ed.field(in, name); f != nil {
		return f.from
	}
	return -1
}

// field returns a field of an object, or nil. Go's decoder, and so runc's, does
// not mind the case of letters.
func (ed *editor) field(in object, name string) (found *entry) {
	for i, f := range in.fields {
		if !strings.EqualFold(f.name, name) {
			continue
		}
		if found != nil {
			ed.fail(errAmbiguous)
		}
		found = &in.fields[i]
	}
	return found
}

// set gives a field of an object a value. The object has other fields.
func (ed *editor) set(in object, name string, value any) {
	text := ed.encode(value)
	if f := ed.field(in, name); f != nil {
		ed.replace(f.from, f.to, text)
		return
	}
	ed.replace(in.start+1, in.start+1, strconv.Quote(name)+":"+text+",")
}

// apply makes the changes.
func (ed *editor) apply() ([]byte, error) {
	if ed.err != nil {
		return nil, ed.err
	}
	slices.SortStableFunc(ed.changes, func(a, b change) int { return a.from - b.from })
	var out []byte
	at := 0
	for _, c := range ed.changes {
		out = append(append(out, ed.text[at:c.from]...), c.text...)
		at = c.to
	}
	return append(out, ed.text[at:]...), nil
}
