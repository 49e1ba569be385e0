package task

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOOMFile(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{
		"web/memory.events", "web/memory.events.local", "web/memory.oom_control", "web/init/memory.events",
		"pods/keelson.own/memory.events", "box/keelson.own/memory.events", "box/keelson.own/init/memory.events.local", "pods/memory.events", "pods/memory.events.local", "memory/old/memory.oom_control",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		place     Placement
		delegated bool
		want      string
	}{
		{Placement{Path: "/web", Others: []string{"/webby"}}, false, "web/memory.events"},
		{Placement{Path: "/pods", Others: []string{"/pods/x"}}, false, "pods/memory.events.local"},
		{Placement{Path: "/pods", Outer: true, Others: []string{"/pods/x"}}, false, "pods/keelson.own/memory.events"},
		{Placement{Path: "/box", Outer: true}, true, "box/keelson.own/init/memory.events.local"},
		{Placement{Path: "/old"}, false, "memory/old/memory.oom_control"},
		{Placement{Path: "/gone"}, false, ""},
	} {
		want := tt.want
		if want != "" {
			want = filepath.Join(root, want)
		}
		if got := oomFile(root, tt.place, tt.delegated); got != want {
			t.Errorf("%+v: %s, want %s", tt.place, got, want)
		}
	}
}
