package privilege

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// neutral are the fields that change no privilege in any direction. A field that a later
// version of the specification defines is not among them.
var neutral = []string{
	".Version", ".Hostname", ".Domainname", // of the container's own
	".Process.Terminal", ".Process.ConsoleSize.Height", ".Process.ConsoleSize.Width",
	".Process.Args", ".Process.Env", ".Process.Cwd", ".Process.User.Umask",
	".Root.Path",                     // below the bundle
	".Linux.Seccomp.DefaultErrnoRet", // what a refused call returns
	".Linux.Seccomp.Syscalls.0.ErrnoRet",
}

// fill sets all fields of v to values that are not zero.
func fill(t testing.TB, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("a").Convert(v.Type().Key()), value)
	case reflect.Interface:
		v.Set(reflect.ValueOf("a"))
	default:
		set(t, v, 1)
	}
}

// set gives a plain value the first or second of two.
func set(t testing.TB, v reflect.Value, n int) {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(string(rune('a' - 1 + n)))
	case v.Kind() == reflect.Bool:
		v.SetBool(n == 1)
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(uint64(n))
	default:
		t.Fatalf("fields of type %v are not known here", v.Type())
	}
}

// mutate calls try with each plain field changed and each pointer, list and map removed,
// one after the other.
func mutate(t testing.TB, v reflect.Value, path string, try func(path string)) {
	without := func() {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		v.SetZero()
		try(path)
		v.Set(old)
	}
	switch v.Kind() {
	case reflect.Pointer:
		without()
		mutate(t, v.Elem(), path, try)
	case reflect.Struct:
		for i := range v.NumField() {
			name := path + "." + v.Type().Field(i).Name
			if v.Type().Field(i).Anonymous {
				name = path
			}
			mutate(t, v.Field(i), name, try)
		}
	case reflect.Slice:
		without()
		mutate(t, v.Index(0), path+".0", try)
	case reflect.Map:
		without()
		key := v.MapKeys()[0]
		value := reflect.New(v.Type().Elem()).Elem()
		value.Set(v.MapIndex(key))
		mutate(t, value, path+".a", func(path string) {
			v.SetMapIndex(key, value)
			try(path)
		})
		fill(t, v)
	case reflect.Interface:
		without()
	default:
		set(t, v, 2)
		try(path)
		set(t, v, 1)
	}
}

// Each field of both files is a privilege, or its absence is, unless it is known to be
// neutral: also those of versions of the specification that are not written yet.
func TestEveryField(t *testing.T) {
	filled := func() *bundle.Bundle {
		b := &bundle.Bundle{Spec: &specs.Spec{}}
		fill(t, reflect.ValueOf(b.Spec).Elem())
		b.Spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: "a", Path: "a"}, {Type: "uts"}}
		fill(t, reflect.ValueOf(&b.Runtime).Elem())
		return b
	}
	old, new := filled(), filled()
	if gains := compare(t, old, new); len(gains) > 0 {
		t.Fatalf("a bundle has %q beyond itself", names(gains))
	}
	seen := map[string]bool{}
	try := func(path string) {
		path = strings.TrimSuffix(path, ".0")
		seen[path] = true
		gains := len(compare(t, old, new))
		if gains == 0 {
			gains = len(compare(t, new, old))
		}
		isNeutral := slices.ContainsFunc(neutral, func(n string) bool {
			return n == path || strings.HasPrefix(n, path+".") && path == ".Process.ConsoleSize"
		})
		if (gains == 0) != isNeutral {
			t.Errorf("field %s: %d gains when it differs, although it is neutral: %v", path, gains, isNeutral)
		}
	}
	mutate(t, reflect.ValueOf(new.Spec).Elem(), "", try)
	mutate(t, reflect.ValueOf(&new.Runtime).Elem(), "runtime", try)
	if len(seen) < 200 {
		t.Errorf("only %d fields are tried: %q", len(seen), slices.Sorted(maps.Keys(seen)))
	}
	for _, n := range neutral {
		if !seen[n] {
			t.Errorf("there is no field %s", n)
		}
	}
}

// A field that this program does not know is a gain in each object of both files.
func TestUnknownFields(t *testing.T) {
	old := load(t, service, preparations)
	for _, file := range []string{service, preparations} {
		n := strings.Count(file, "{")
		for i := range n {
			parts := strings.SplitN(file, "{", i+2)
			text := strings.Join(parts[:i+1], "{") + `{"future":{"a":1},` + parts[i+1]
			text = strings.ReplaceAll(text, ",}", "}")
			config, runtime := service, text
			if file == service {
				config, runtime = text, preparations
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, bundle.ConfigFile), []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, bundle.RuntimeFile), []byte(runtime), 0o644); err != nil {
				t.Fatal(err)
			}
			new, err := bundle.Load(dir)
			if err != nil { // annotations are texts
				if strings.Contains(err.Error(), "annotations") {
					continue
				}
				t.Fatalf("%v: %s", err, text)
			}
			if len(compare(t, old, new)) == 0 {
				t.Errorf("no gain for %s", text)
			}
		}
	}
}

func TestSameBundleHasNoGains(t *testing.T) {
	dirs, err := filepath.Glob("../bundle/testdata/containers/*/*")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%q, %v", dirs, err)
	}
	for _, dir := range dirs {
		b, err := bundle.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if gains := compare(t, b, b); len(gains) > 0 {
			t.Errorf("%s has %q beyond itself", dir, names(gains))
		}
		if changes, err := Plan(b, b); err != nil || len(changes) > 0 {
			t.Errorf("%s differs from itself by %v, %v", dir, changes, err)
		}
	}
}

// Whatever two bundles contain, they can be compared; a bundle has nothing beyond itself;
// and two bundles of which one has a gain differ.
func FuzzCompare(f *testing.F) {
	f.Add([]byte(service), []byte(preparations), []byte(service), []byte(`{}`))
	for _, tt := range replacements {
		f.Add([]byte(service), []byte(preparations), []byte(strings.ReplaceAll(strings.Replace(service, tt.from, tt.to, 1), "},]", "}]")), []byte(preparations))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, oldConfig, oldRuntime, newConfig, newRuntime []byte) {
		read := func(config, runtime []byte) *bundle.Bundle {
			for name, text := range map[string][]byte{bundle.ConfigFile: config, bundle.RuntimeFile: runtime} {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := bundle.Load(dir)
			if err != nil {
				return nil
			}
			return b
		}
		old, new := read(oldConfig, oldRuntime), read(newConfig, newRuntime)
		if old == nil || new == nil {
			return
		}
		gains := compare(t, old, new)
		for _, g := range gains {
			if g.Field == "json" {
				return
			}
		}
		if own := compare(t, new, new); len(own) > 0 {
			t.Errorf("%s has %q beyond itself", newConfig, names(own))
		}
		changes, err := Plan(old, new)
		if err != nil || len(gains) > 0 && len(changes) == 0 {
			t.Errorf("gains %q, but plan %v, %v", names(gains), changes, err)
		}
		if _, err := json.Marshal(fmt.Sprint(gains, changes)); err != nil {
			t.Error(err)
		}
	})
}
