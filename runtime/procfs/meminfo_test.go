package procfs

import "testing"

func TestMemory(t *testing.T) {
	m, err := ReadMemory("/proc")
	if err != nil || m.Total <= 0 || m.Available <= 0 || m.Available > m.Total {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := ReadMemory(t.TempDir()); err == nil {
		t.Error("no error without the file")
	}
	for text, want := range map[string]Memory{
		"MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n": {2 << 20, 1 << 20},
		"MemTotal: 1 kB\n": {}, "MemTotal: x kB\nMemAvailable: 1 kB\n": {}, "MemTotal: -1 kB\nMemAvailable: 1 kB\n": {},
		"MemTotal: 9223372036854775807 kB\nMemAvailable: 1 kB\n": {}, "": {},
	} {
		if got, err := parseMemory(text); got != want || (err == nil) != (want.Total > 0) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzMemory(f *testing.F) {
	f.Add("MemTotal:        2048 kB\nMemAvailable:    1024 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseMemory(text); err == nil && (m.Total < 0 || m.Available < 0) {
			t.Errorf("%+v", m)
		}
	})
}
