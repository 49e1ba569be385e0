package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"keelson/services/control"
)

// The configuration of a service has all settings, and numbers as they are. A service that does
// not exist, or whose bundle cannot be read, is an error.
func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.restart":"always"`, "b": ""})
		defer r.stop()
		synctest.Wait()
		i, err := r.Inspect("a")
		if err != nil || i.Name != "a" || i.Settings["keelson.restart"] != "always" || i.Settings["keelson.stop.timeout"] != "10s" || i.Effective || i.Config["process"] == nil {
			t.Errorf("%+v, %v", i, err)
		}
		if _, err := r.Inspect("none"); !errors.Is(err, control.ErrNotFound) {
			t.Errorf("none: %v", err)
		}
		if err := os.WriteFile(filepath.Join(i.Bundle, "config.json"), []byte(`{"a":18446744073709551615,`), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Inspect("a"); err == nil {
			t.Error("a configuration that is no JSON")
		}
	})
}

// list has what a service waits for, and where its bundle is.
func TestListDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.requires":"b","keelson.after":"c"`, "b": "", "c": ""})
		defer r.stop()
		synctest.Wait()
		response := r.Control(t.Context(), control.Request{Verb: control.List, Names: []string{"a"}})
		if len(response.Services) != 1 {
			t.Fatalf("%+v", response)
		}
		a := response.Services[0]
		if len(a.After) != 2 || a.After[0] != "b" || a.After[1] != "c" || len(a.Requires) != 1 || a.Requires[0] != "b" || filepath.Base(a.Bundle) != "a" {
			t.Errorf("%+v", a)
		}
	})
}
