package supervisor

import "testing"

// Every combination of what a supervisor can find at its start.
func TestPlanPrograms(t *testing.T) {
	for i := range 16 {
		f := programsFound{onTrial: i&1 != 0, current: i&2 != 0, recorded: i&4 != 0, restored: i&8 != 0}
		want := programsNothing
		switch {
		case f.onTrial && f.current:
			want = programsFinish // Whatever else: the link has been renamed.
		case f.onTrial && f.recorded:
			want = programsJudge
		case f.onTrial:
			want = programsRemove // Nobody could commit it.
		case f.recorded && f.restored:
			want = programsReject
		case f.recorded:
			want = programsAbandon // A power cut, or the end of the supervisor before the trial.
		}
		if got := planPrograms(f); got != want {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}
}
