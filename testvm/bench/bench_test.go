package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
)

const console = `[    0.000000] Linux version 6.1
[    1.000000] Run /init as init process
keelson: [   1.100] mounts: done after 0.050s
[    1.200000] keelson-bench: onboot 1
[    1.300000] keelson-bench: onboot 2
[    1.400000][    T1] keelson-bench: onboot 3
[    1.700000] keelson-bench: service 3
[    1.500000] keelson-bench: service 1
[    1.600000] keelson-bench: service 2
[    1.750000] keelson-bench: idle 100000000
[    1.760000] keelson-bench: idle 50000000
[    1.800000] keelson-bench: memory MemTotal 1000
[    1.800000] keelson-bench: memory MemFree 600
[    1.800000] keelson-bench: memory AnonPages 100
[    1.800000] keelson-bench: process 1 2000 1500 700 init
[    1.800000] keelson-bench: process 30 10 5 2 a b
[    2.000000] keelson-bench: power off
[    2.250000] reboot: Power down
`

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

func TestParse(t *testing.T) {
	r, err := Parse(strings.ReplaceAll(console, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !near(r.Kernel, 1) || !near(r.Onboot[2], 0.4) || !near(r.Services[2], 0.7) || !near(r.PowerOff, 0.25) {
		t.Errorf("times: %+v", r)
	}
	if !near(r.Idle, 0.15) {
		t.Errorf("idle for %v s", r.Idle)
	}
	if r.Memory["MemFree"] != 600<<10 || len(r.Processes) != 2 || len(r.Steps) != 1 {
		t.Errorf("got %+v", r)
	}
	if p := r.Processes[1]; p != (Process{30, "a b", 10 << 10, 5 << 10, 2 << 10}) {
		t.Errorf("process: %+v", p)
	}
}

// A program's line that the kernel breaks up costs no mark, and the init's clock
// is set against the kernel's.
func TestParseMixed(t *testing.T) {
	mixed := strings.Replace(console, "[    1.500000] keel", "keelson: [   1.490] service one: runn[    1.500000][    T1] keel", 1) + "ing after 0.100s\n"
	mixed += "[    1.750000] keelson-bench: clock 1765000000\n"
	r, err := Parse(mixed)
	if err != nil {
		t.Fatal(err)
	}
	if !near(r.Services[0], 0.5) || len(r.Services) != 3 || !near(r.Clock, 0.015) || len(r.Steps) != 2 || r.Steps[1].Name != "one" {
		t.Errorf("got %+v", r)
	}
	if _, err := Parse(console + "[    1.750000] keelson-bench: clock x\n"); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a broken clock: %v", err)
	}
}

// Every mark is needed, and the error names the one that is missing.
func TestParseMissing(t *testing.T) {
	for line, want := range map[string]string{
		"Run /init": "/init", "onboot 2": "onboot", "service 3": "service", "MemFree": "memory",
		"power off": "power off", "Power down": "power down",
	} {
		var kept []string
		for l := range strings.Lines(console) {
			if !strings.Contains(l, line) {
				kept = append(kept, l)
			}
		}
		if _, err := Parse(strings.Join(kept, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %q: %v", line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(console)
	f.Add("[ 1.000000] keelson-bench: process 1 2 3\n[ 1.000000] keelson-bench: memory X\n")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := Parse(s); err == nil && (len(r.Onboot) != containers || len(r.Services) != containers) {
			t.Errorf("taken: %+v", r)
		}
	})
}

func TestReport(t *testing.T) {
	run, err := Parse(console)
	if err != nil {
		t.Fatal(err)
	}
	other := run
	other.PowerOff *= 1.02
	r := &Report{Name: "x", Arch: "amd64", Runs: []Run{run, other}}
	r.Summarize()
	if s := r.Spread(); s < 0.019 || s > 0.021 {
		t.Errorf("spread %v", s)
	}
	var table bytes.Buffer
	r.WriteTable(&table)
	if !strings.Contains(table.String(), "/init to 3rd service") {
		t.Errorf("table:\n%s", table.String())
	}
	path, err := r.WriteJSON(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Figures) != len(quantities) || len(back.Runs) != 2 {
		t.Errorf("read back %+v, %v", back, err)
	}
}

// Two archives in one initrd, packed and plain.
func TestMeasureInitrd(t *testing.T) {
	var raw bytes.Buffer
	archive := func(files map[string]int64) {
		w := cpio.NewWriter(&raw)
		for name, size := range files {
			h := &cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: size, Links: 1}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		raw.Write(make([]byte, 512))
	}
	archive(map[string]int64{"init": 1000, "containers/services/x/rootfs/bin/sh": 5000})
	archive(map[string]int64{"./lib/modules/6/a.ko": 300, "usr/bin/runc": 10})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": raw.Bytes(), "zstd": z.EncodeAll(raw.Bytes(), nil)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := MeasureInitrd(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.ImageUnpacked != 6310 || s.GuestUnpacked != 1010 || s.ImagePacked != int64(len(data)) || s.GuestPacked == 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if _, err := MeasureInitrd("/no/such"); err == nil {
		t.Error("a missing initrd is measured")
	}
}

func TestMeasureBinaries(t *testing.T) {
	root := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{"usr/bin/go-program": self, "init": []byte("#!/bin/sh\n")} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	all, err := MeasureBinaries(root)
	if err != nil || len(all) != 2 || all[0].Path != "/init" || all[0].Packages != nil || all[1].Size != int64(len(self)) {
		t.Fatalf("%+v, %v", all, err)
	}
	own := slices.IndexFunc(all[1].Packages, func(p Package) bool { return p.Name == "keelson/testvm/bench" })
	if own < 0 || all[1].Packages[own].Code < 1000 {
		t.Errorf("packages: %+v", all[1].Packages)
	}
	if _, err := MeasureBinaries(filepath.Join(root, "none")); err == nil {
		t.Error("a missing tree is measured")
	}
}
