package upgrade

import "testing"

// Every combination of what a supervisor can find at its start.
func TestPlan(t *testing.T) {
	for i := range 16 {
		f := found{onTrial: i&1 != 0, current: i&2 != 0, recorded: i&4 != 0, restored: i&8 != 0}
		want := nothing
		switch {
		case f.onTrial && f.current:
			want = finish // Whatever else: the link has been renamed.
		case f.onTrial && f.recorded:
			want = judge
		case f.onTrial:
			want = remove // Nobody could commit it.
		case f.recorded && f.restored:
			want = reject
		case f.recorded:
			want = abandon // A power cut, or the end of the supervisor before the trial.
		}
		if got := plan(f); got != want {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}
}
