package hotplug

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/uevent"
)

// machine returns a Machine with files below /sys/devices/system.
func machine(t *testing.T, files map[string]string) Machine {
	t.Helper()
	dir := t.TempDir()
	m := Machine{Sys: filepath.Join(dir, "sys"), Known: filepath.Join(dir, "known")}
	for name, text := range files {
		put(t, m.path(name), text)
	}
	return m
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, m Machine, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if got, err := os.ReadFile(m.path(name)); strings.TrimSpace(string(got)) != text || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, text)
		}
	}
}

func TestBegin(t *testing.T) {
	files := map[string]string{"cpu/present": "0-1\n", "cpu/cpu1/online": "0\n", "memory/auto_online_blocks": "offline\n",
		"memory/memory0/state": "online\n", "memory/memory40/state": "offline\n", "memory/memory41/state": "going-offline\n"}
	m := machine(t, files)
	if err := m.Begin(true); err != nil {
		t.Error(err)
	}
	want(t, m, map[string]string{"memory/auto_online_blocks": "offline", "memory/memory40/state": "offline"})
	if err := m.Begin(false); err != nil {
		t.Error(err)
	}
	want(t, m, map[string]string{"memory/auto_online_blocks": "online", "memory/memory0/state": "online", "memory/memory40/state": "online",
		"memory/memory41/state": "going-offline", "cpu/cpu1/online": "0"})
	if err := machine(t, nil).Begin(false); err != nil {
		t.Errorf("a kernel without hotplug: %v", err)
	}
}

func TestHandle(t *testing.T) {
	m := machine(t, map[string]string{"cpu/present": "0-1\n", "cpu/cpu1/online": "0\n",
		"memory/block_size_bytes": "8000000\n", "memory/memory40/state": "online\n", "memory/memory41/state": "offline\n"})
	if err := m.Begin(true); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	said := func(parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(text.String(), p) {
				t.Errorf("no %q in %s", p, text.String())
			}
		}
		text.Reset()
	}
	lost := []uevent.Event{{Lost: true}}
	m.Handle(lost, log)
	if text.Len() > 0 {
		t.Errorf("logged although nothing was added: %s", text.String())
	}
	want(t, m, map[string]string{"cpu/cpu1/online": "0"}) // It was present and offline before.
	put(t, m.path("cpu/present"), "0-3\n")
	put(t, m.path("cpu/cpu2/online"), "0\n")
	put(t, m.path("cpu/cpu3/online"), "0\n")
	m.Handle([]uevent.Event{{Modalias: "x"}, {Added: "cpu/cpu2"}, {Added: "cpu/cpu2"}}, log)
	want(t, m, map[string]string{"cpu/cpu1/online": "0", "cpu/cpu2/online": "1", "cpu/cpu3/online": "0"})
	said("cpus=cpu2")
	put(t, m.Known, "0-2")
	m.Handle(append(lost, uevent.Event{Added: "cpu/cpu3"}), log)
	want(t, m, map[string]string{"cpu/cpu1/online": "0", "cpu/cpu3/online": "1"})
	said("cpus=cpu3")
	m.Handle([]uevent.Event{{Added: "memory/memory40"}, {Added: "memory/memory41"}, {Added: "memory/gone"}}, log)
	said("level=WARN", "MiB=384", "used=128")
	m.Handle([]uevent.Event{{Added: "memory/memory40"}}, log)
	said("level=INFO", "MiB=128")
}

func TestParseList(t *testing.T) {
	for text, want := range map[string][]int{
		"": nil, "\n": nil, "0": {0}, "0-3,7\n": {0, 1, 2, 3, 7}, "7,0-1,1": {0, 1, 7}, "3-1": nil, "-": nil, "1-": nil, "x,2": {2},
		"0-4294967295": nil, "1-2-3,5": {5},
	} {
		if got := ParseList(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("0-3,7\n")
	f.Add("0-65535,0-65535,-")
	f.Fuzz(func(t *testing.T, text string) {
		if all := ParseList(text); !slices.IsSorted(all) || len(all) > maxCPU {
			t.Errorf("%d numbers", len(all))
		}
	})
}
