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

// jsonField is one field of a JSON file: the names that lead to it, and a function that
// returns a file with another value in that field.
type jsonField struct {
	names []string
	with  func(any) any
	kind  reflect.Kind
}

// fieldsOf walks a type as encoding/json does. Recursive types are followed only as deep
// as a bundle's files are.
func fieldsOf(t reflect.Type, names []string, with func(any) any) []jsonField {
	if len(names) > 8 {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return fieldsOf(t.Elem(), names, with)
	case reflect.Slice:
		inner := fieldsOf(t.Elem(), names, func(v any) any { return with([]any{v}) })
		return append(inner, jsonField{names, with, t.Kind()})
	case reflect.Map:
		inner := fieldsOf(t.Elem(), names, func(v any) any { return with(map[string]any{"key": v}) })
		return append(inner, jsonField{names, with, t.Kind()})
	case reflect.Struct:
		all := []jsonField{{names, with, t.Kind()}}
		for i := range t.NumField() {
			all = append(all, structField(t.Field(i), names, with)...)
		}
		return all
	case reflect.Interface:
		return nil // takes anything
	}
	return []jsonField{{names, with, t.Kind()}}
}

func structField(f reflect.StructField, names []string, with func(any) any) []jsonField {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case name == "-":
		return nil
	case name == "" && f.Anonymous:
		return fieldsOf(f.Type, names, with)
	}
	return fieldsOf(f.Type, append(append([]string{}, names...), name), func(v any) any { return with(map[string]any{name: v}) })
}

// unfit are values that a field of a kind cannot have.
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

// A value of the wrong type in any field of both files is an error that names file, field
// and value.
func TestWrongTypeInEveryField(t *testing.T) {
	identity := func(v any) any { return v }
	for file, root := range map[string]reflect.Type{
		ConfigFile: reflect.TypeFor[specs.Spec](), RuntimeFile: reflect.TypeFor[Runtime](),
	} {
		all := fieldsOf(root, nil, identity)
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
		if len(all) < 10 {
			t.Errorf("%s has only %d fields", file, len(all))
		}
	}
}
