package cmdline

import (
	"fmt"
	"os"
	"strings"

	"keelson/runtime/userspace"
)

// Path is where the kernel shows its command line.
const Path = "/proc/cmdline"

// Param is one parameter. Set distinguishes "name=" from "name".
type Param struct {
	Name  string // as written
	Value string
	Set   bool
}

// Line is a parsed command line.
type Line []Param

// Read parses the command line that holds in env: the running kernel's on a machine.
func Read(env userspace.Environment) (Line, error) {
	if !env.Machine {
		return Parse(env.CmdLine), nil
	}
	text, err := os.ReadFile(Path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel command line: %w", err)
	}
	return Parse(string(text)), nil
}

// Parse splits text at blanks outside double quotes, which keep blanks in
// a value: name="a b" and "name=a b" mean the same. It ends at a lone "--".
func Parse(text string) Line {
	var line Line
	for {
		var word string
		word, text = next(strings.TrimLeft(text, blanks))
		if word == "" || word == "--" {
			return line
		}
		line = append(line, param(word))
	}
}

const blanks = " \t\n\v\f\r\x00"

// next takes a word off text, quotes included.
func next(text string) (word, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(blanks, text[i]) >= 0:
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// param splits a word at its first "=". Quotes around the whole word or around the
// value are removed, and no others, as in the kernel.
func param(word string) Param {
	if strings.HasPrefix(word, `"`) {
		word = unquote(word)
	}
	name, value, set := strings.Cut(word, "=")
	if strings.HasPrefix(value, `"`) {
		value = unquote(value)
	}
	return Param{Name: name, Value: value, Set: set}
}

func unquote(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(s, `"`), `"`)
}

// Values returns all values of name, in order; a bare name counts as "".
func (l Line) Values(name string) []string {
	var values []string
	for _, p := range l {
		if same(p.Name, name) {
			values = append(values, p.Value)
		}
	}
	return values
}

// Last returns the value of name given last, and whether there is one.
func (l Line) Last(name string) (string, bool) {
	values := l.Values(name)
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

// Enabled reports whether name is switched on: alone, or with 1, y, yes, on or
// true as its last value.
func (l Line) Enabled(name string) bool {
	value, ok := l.Last(name)
	switch value {
	case "", "1", "y", "Y", "yes", "on", "true":
		return ok
	}
	return false
}

func same(a, b string) bool { return normal(a) == normal(b) }

func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }
