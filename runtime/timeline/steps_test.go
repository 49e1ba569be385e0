package timeline

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The steps of a boot end with it. The critical path leads through the steps that each waited for
// the one before.
func TestSteps(t *testing.T) {
	steps := Steps([]Event{
		{At: 400 * ms, Stage: Kernel, Result: "keelson"},
		{At: 420 * ms, Stage: Mounts, Took: 19 * ms},
		{At: 500 * ms, Stage: Modules, Took: 80 * ms},
		{At: 460 * ms, Stage: Hostname, Took: 40 * ms},
		{At: 800 * ms, Stage: Onboot, Name: "000-a", Took: 299 * ms, Result: "exited 0"},
		{At: 801 * ms, Stage: "boot", Took: 381 * ms},
		{At: 850 * ms, Stage: Containerd, Took: 30 * ms},
		{At: 900 * ms, Stage: Service, Name: "fast", Took: 49 * ms, Result: "running"},
		{At: 1000 * ms, Stage: Service, Name: "slow", Took: 149 * ms, Result: "running"},
		{At: 1001 * ms, Stage: Ready},
		{At: 5000 * ms, Stage: Service, Name: "fast", Took: 99 * ms, Result: "running"},
	})
	var got []string
	for _, s := range steps {
		mark := ""
		if s.Critical {
			mark = "*"
		}
		if s.Whole {
			mark = "+"
		}
		got = append(got, fmt.Sprintf("%s %d-%d%s", s.Name, s.Begin.Milliseconds(), s.End.Milliseconds(), mark))
	}
	want := "kernel 0-400*, mounts 401-420*, modules 420-500*, hostname 420-460, init boot, in all 420-801+, onboot 000-a 501-800*, " +
		"supervisor starts 801-820*, containerd 820-850*, service fast 851-900, service slow 851-1000*"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	if End(steps) != 1000*ms || Steps(nil) != nil || UpAt(nil) != 0 {
		t.Errorf("end: %v", End(steps))
	}
}

// Whatever a timeline has, steps are within the boot, and the path ends.
func FuzzSteps(f *testing.F) {
	f.Add(int64(1), int64(1), "kernel", int64(5), int64(2), "service")
	f.Add(int64(-1), int64(1<<62), "ready", int64(5), int64(-2), "boot")
	f.Fuzz(func(t *testing.T, at, took int64, stage string, at2, took2 int64, stage2 string) {
		all := []Event{{At: time.Duration(at), Took: time.Duration(took), Stage: stage}, {At: time.Duration(at2), Took: time.Duration(took2), Stage: stage2}}
		for _, s := range Steps(all) {
			if s.Begin < 0 || s.End <= s.Begin || s.End > max(UpAt(all), 0) {
				t.Errorf("%+v", s)
			}
		}
	})
}
