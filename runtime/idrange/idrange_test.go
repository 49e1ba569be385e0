package idrange

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/bundle"
)

func assign(t *testing.T, table *Table, names ...string) map[string]uint32 {
	t.Helper()
	all := map[string]uint32{}
	for _, name := range names {
		id, err := table.Assign(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = id
	}
	return all
}

func open(t *testing.T, path string) *Table {
	t.Helper()
	table, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// clashing returns two names with the same hash.
func clashing() (a, b string) {
	seen := map[uint32]string{}
	for i := 0; ; i++ {
		name := fmt.Sprint("service", i)
		slot := hash(name) % services
		if other, ok := seen[slot]; ok {
			return other, name
		}
		seen[slot] = name
	}
}

// Each service has a range of its own, of systemd's for containers.
func TestRanges(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "userns.json"))
	owner := map[uint32]string{}
	for i := range 500 {
		name := fmt.Sprint("service", i)
		id := assign(t, table, name)[name]
		if id < first || id > last-bundle.UserRange+1 || (id-first)%bundle.UserRange != 0 || !valid(id) {
			t.Errorf("%s has %d", name, id)
		}
		if other, ok := owner[id]; ok {
			t.Errorf("%s and %s have %d", name, other, id)
		}
		owner[id] = name
	}
	for i := range 500 {
		if id := OneShot(fmt.Sprint("onboot", i)); valid(id) || id < first || id > last-bundle.UserRange+1 {
			t.Errorf("a one-shot container has %d", id)
		}
	}
}

// A service keeps its range when the table is read again, and when services are added that
// would have the same one; without the file, the order of the names decides.
func TestRangesStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib/userns.json")
	a, b := clashing()
	was := assign(t, open(t, path), b)
	again := open(t, path)
	now := assign(t, again, a, b)
	if now[b] != was[b] || now[a] == now[b] {
		t.Errorf("%v after %v", now, was)
	}
	if third := assign(t, open(t, path), b, a); !maps.Equal(third, now) {
		t.Errorf("%v after %v", third, now)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	x := assign(t, open(t, path), a, b)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if y := assign(t, open(t, path), a, b); !maps.Equal(x, y) {
		t.Errorf("%v, then %v", x, y)
	}
}

// A table that cannot be used is reported, and services get ranges nevertheless.
func TestBadTable(t *testing.T) {
	for _, text := range []string{
		"", "{", "[]", `{"a":1}`, `{"a":524289}`, `{"a":-1}`, `{"a":524288,"b":524288}`,
		fmt.Sprintf(`{"a":%d}`, idOf(services)), strings.Repeat(" ", sizeLimit+1),
	} {
		path := filepath.Join(t.TempDir(), "userns.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		table, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q: %v", text, err)
		}
		assign(t, table, "a", "b")
		if _, err := Open(path); err != nil {
			t.Errorf("after %.20q: %v", text, err)
		}
	}
}

// A range that cannot be stored is used, and reported.
func TestRangeNotStored(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	table, _ := Open(filepath.Join(file, "userns.json"))
	id, err := table.Assign("a")
	if err == nil || !valid(id) {
		t.Errorf("%d, %v", id, err)
	}
	if again, err := table.Assign("a"); again != id || err != nil {
		t.Errorf("%d, %v after %d", again, err, id)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"a":524288}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "userns.json")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		table, _ := Open(path)
		seen := map[uint32]bool{}
		for _, name := range []string{"a", "b", "c"} {
			id, err := table.Assign(name)
			if err != nil || !valid(id) || seen[id] {
				t.Errorf("%s: %d, %v", name, id, err)
			}
			seen[id] = true
		}
	})
}
