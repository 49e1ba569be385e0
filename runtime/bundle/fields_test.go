package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// place is one field of a JSON file: the names that lead to it, and a value
// around it that puts something else there.
type place struct {
	names []string
	with  func(any) any
	kind  reflect.Kind
}

// places walks a type as encoding/json does. Types that hold themselves are
// followed no deeper than the bundle's files go.
func places(t reflect.Type, names []string, with func(any) any) []place {
	if len(names) > 8 {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return places(t.Elem(), names, with)
	case reflect.Slice:
		inner := places(t.Elem(), names, func(v any) any { return with([]any{v}) })
		return append(inner, place{names, with, t.Kind()})
	case reflect.Map:
		inner := places(t.Elem(), names, func(v any) any { return with(map[string]any{"key": v}) })
		return append(inner, place{names, with, t.Kind()})
	case reflect.Struct:
		all := []place{{names, with, t.Kind()}}
		for i := range t.NumField() {
			all = append(all, fieldPlaces(t.Field(i), names, with)...)
		}
		return all
	case reflect.Interface:
		return nil // takes anything
	}
	return []place{{names, with, t.Kind()}}
}

func fieldPlaces(f reflect.StructField, names []string, with func(any) any) []place {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case name == "-":
		return nil
	case name == "" && f.Anonymous:
		return places(f.Type, names, with)
	}
	return places(f.Type, append(append([]string{}, names...), name), func(v any) any { return with(map[string]any{name: v}) })
}

// unfit are values that a field of a kind cannot take.
func unfit(k reflect.Kind) []any {
	switch k {
	case reflect.String:
		return []any{7.5, true, []any{"a"}, map[string]any{"a": 1}}
	case reflect.Bool:
		return []any{7, "yes", []any{true}, map[string]any{"a": 1}}
	case reflect.Slice:
		return []any{7, true, map[string]any{"a": 1}}
	case reflect.Struct, reflect.Map:
		return []any{7, "x", true, []any{1}}
	}
	return []any{"seven", true, []any{7}, map[string]any{"a": 1}, 7.5}
}

// Every field of both files with every kind of value that does not fit is an
// error that names file, field and value, and never a panic.
func TestEveryFieldThatDoesNotFit(t *testing.T) {
	identity := func(v any) any { return v }
	for file, root := range map[string]reflect.Type{
		ConfigFile: reflect.TypeFor[specs.Spec](), RuntimeFile: reflect.TypeFor[Runtime](),
	} {
		all := places(root, nil, identity)
		if len(all) < 15 {
			t.Fatalf("%s has only %d fields", file, len(all))
		}
		dir := write(t, goodConfig, "{}")
		for _, p := range all {
			for _, v := range unfit(p.kind) {
				text, err := json.Marshal(p.with(v))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
					t.Fatal(err)
				}
				_, err = Load(dir)
				field := "(whole file)"
				if len(p.names) > 0 {
					field = p.names[len(p.names)-1]
				}
				if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "bad value") {
					t.Errorf("%s: %s: error %v", file, text, err)
				}
			}
		}
		t.Logf("%s: %d fields", file, len(all))
	}
}
