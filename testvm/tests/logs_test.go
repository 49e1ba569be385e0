package tests

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/testvm/vm/vmtest"
)

// `service logs` prints the logs of the whole system in the order of time.
func checkLogs(t *testing.T, v *vmtest.VM) {
	var names []string
	last := time.Time{}
	for line := range strings.Lines(v.Output("/usr/bin/service", "logs", "-o", "json")) {
		var e struct {
			Time, Before time.Time
			Name         string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		names = append(names, e.Name)
		if e.Time.IsZero() == e.Before.IsZero() {
			t.Errorf("one time is wanted: %s", line)
		}
		// Several processors write the logs of kernel, keelson and containerd.
		if e.Time.IsZero() || slices.Contains([]string{"kernel", "keelson", "containerd"}, e.Name) {
			continue
		}
		if e.Time.Before(last) {
			t.Errorf("after %v: %s", last, line)
		}
		last = e.Time
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range []string{"containerd", "keelson", "kernel", "onboot.000-first", "redis"} {
		if !slices.Contains(names, name) {
			t.Errorf("no line of %s among those of %q", name, names)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "cat", "onboot.000-first"}, "first out\nfirst err\n"},
		{[]string{"-o", "cat", "--grep", "^first out$", "--since", "@0"}, "first out\n"},
		{[]string{"-o", "cat", "--until", "-1000d"}, ""},
	} {
		got := v.Output(append([]string{"/usr/bin/service", "logs"}, tt.args...)...)
		lines, want := strings.Split(got, "\n"), strings.Split(tt.want, "\n")
		slices.Sort(lines) // Both streams may have the same time.
		slices.Sort(want)
		if !slices.Equal(lines, want) {
			t.Errorf("service logs %q: %q, want %q", tt.args, got, tt.want)
		}
	}
	if got := v.Output("/usr/bin/service", "logs", "-n", "1", "--grep", " ready: ", "keelson"); !strings.Contains(got, " keelson: [") || strings.Count(got, "\n") != 1 {
		t.Errorf("the ready message: %q", got)
	}
}
