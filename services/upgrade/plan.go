package upgrade

// How far an upgrade is, is in files, so that any process may end at any instant:
//
//	the store (services/versions)     trial.json from Begin to Clean or Abort; current
//	programs.TrialFile in /run        while the supervisor that starts is the one on trial
//	programs.OutcomeFile in /run      how the trial ended
//
// found is what a supervisor finds of that at its start.
type found struct {
	onTrial  bool // programs.TrialFile exists
	current  bool // the version on trial is current: the swap was committed
	recorded bool // the store has a swap that was not committed
	restored bool // PID 1 has put the version before into use again
}

// step is what it does then.
type step string

const (
	nothing step = "nothing"
	judge   step = "judge"   // this supervisor is on trial
	finish  step = "finish"  // record the end of a trial that was committed
	reject  step = "reject"  // give up the swap, and remember why it failed
	abandon step = "abandon" // give up a swap that was interrupted
	remove  step = "remove"  // remove the file of a trial that nothing belongs to
)

// plan returns the step for what was found.
func plan(f found) step {
	switch {
	case f.onTrial && f.current:
		return finish
	case f.onTrial && f.recorded:
		return judge
	case f.onTrial:
		return remove
	case f.recorded && f.restored:
		return reject
	case f.recorded:
		return abandon
	}
	return nothing
}
