package events

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// docs/events.md has a row for each kind and each field.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, kind := range Kinds() {
		names = append(names, string(kind))
	}
	for field := range reflect.TypeFor[Event]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		if row, ok := strings.CutPrefix(line, "| "); ok {
			cell, _, _ := strings.Cut(row, " |")
			rows = append(rows, strings.Split(cell, ", ")...)
		}
	}
	for _, name := range names {
		found := false
		for _, row := range rows {
			found = found || row == "`"+name+"`"
		}
		if !found {
			t.Errorf("docs/events.md has no row of %s", name)
		}
	}
}
