package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"keelson/runtime/timeline"
)

// booted is a boot whose clock is 10 ms ahead of the kernel log's stamps.
func booted() Run {
	ms := func(at, took int, stage, name string) timeline.Event {
		return timeline.Event{At: time.Duration(at+10) * time.Millisecond, Took: time.Duration(took) * time.Millisecond, Stage: stage, Name: name}
	}
	return Run{
		Kernel: 1, Clock: 0.01, Onboot: []float64{0.05, 0.06, 0.07}, Services: []float64{0.2, 0.3, 0.4}, Requested: 0.5, PowerOff: 0.1,
		Steps: []timeline.Event{
			ms(1004, 0, timeline.Kernel, ""), ms(1010, 4, timeline.Mounts, ""), ms(1010, 0, timeline.Hostname, ""),
			ms(1070, 50, timeline.Onboot, "000-<a>"), ms(1072, 60, bootRole, ""), ms(1100, 5, timeline.Containerd, ""),
			ms(1300, 200, timeline.Service, "two"), ms(1410, 300, timeline.Service, "one"), ms(1410, 0, timeline.Ready, ""),
			ms(1502, 0, timeline.Shutdown, "power off"), ms(1560, 0, timeline.Service, "one"), ms(1590, 88, timeline.Shutdown, "services"),
		},
	}
}

func TestStages(t *testing.T) {
	want := []Stage{
		{"kernel", -1, 1, 1e9},
		{"/init starts", 0, 0.004, 4e6},
		{"mounts", 0.006, 0.004, 4e6},
		{"hostname", 0.010, 0, 0},
		{"init boot, in all", 0.012, 0.060, 60e6},
		{"onboot 000-<a>", 0.020, 0.050, 50e6},
		{"supervisor starts", 0.072, 0.023, 23e6},
		{"containerd answers", 0.095, 0.005, 5e6},
		{"service two", 0.100, 0.200, 200e6},
		{"service one", 0.110, 0.300, 300e6},
		{"ready", 0.410, 0, 0},
		{"shutdown begins", 0.500, 0.002, 2e6},
		{"stop service one", 0.502, 0.058, 58e6},
		{"stop services", 0.502, 0.088, 88e6},
		{"kernel powers down", 0.590, 0.010, 10e6},
	}
	wantStages(t, meanStages([]Run{booted()}), want)
	// One seed later: the mean lies half way, in the same order.
	late := booted()
	for i := range late.Steps {
		late.Steps[i].At += 20 * time.Millisecond
	}
	got := meanStages([]Run{booted(), late})
	if i := slices.IndexFunc(got, func(s Stage) bool { return s.Name == "service one" }); i < 0 || !near(got[i].Start, 0.12) || !near(got[i].Length, 0.3) {
		t.Errorf("mean of two: %+v", got)
	}
	// An init that says nothing has the kernel's stage alone.
	wantStages(t, meanStages([]Run{{Kernel: 1, Requested: 1, PowerOff: 1}}), want[:1])
}

func wantStages(t *testing.T, got, want []Stage) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d stages, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		g := got[i]
		if g.Name != w.Name || !near(g.Start, w.Start) || !near(g.Length, w.Length) || math.Abs(float64(g.Instructions-w.Instructions)) > 10 {
			t.Errorf("stage %d: got %+v, want %+v", i, g, w)
		}
	}
}
