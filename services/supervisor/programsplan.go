package supervisor

// A swap of keelson's own programs goes through two supervisors. The one before prepares it
// and ends; the one among the new programs is on trial and commits it. Where it is, is in
// files, so that any process may end at any instant:
//
//	the store (services/versions)     trial.json from Begin to Clean or Abort; current
//	programs.TrialFile in /run        while the supervisor that starts is the one on trial
//	programs.OutcomeFile in /run      how the trial ended
//
// programsFound is what a supervisor finds of that at its start.
type programsFound struct {
	onTrial  bool // programs.TrialFile exists
	current  bool // the version on trial is current: the swap was committed
	recorded bool // the store has a swap that was not committed
	restored bool // PID 1 has put the version before into use again
}

// programsStep is what it does then.
type programsStep string

const (
	programsNothing programsStep = "nothing"
	programsJudge   programsStep = "judge"   // this supervisor is on trial
	programsFinish  programsStep = "finish"  // record the end of a trial that was committed
	programsReject  programsStep = "reject"  // give up the swap, and remember why it failed
	programsAbandon programsStep = "abandon" // give up a swap that was interrupted
	programsRemove  programsStep = "remove"  // remove the file of a trial that nothing belongs to
)

// planPrograms returns the step for what was found.
func planPrograms(f programsFound) programsStep {
	switch {
	case f.onTrial && f.current:
		return programsFinish
	case f.onTrial && f.recorded:
		return programsJudge
	case f.onTrial:
		return programsRemove
	case f.recorded && f.restored:
		return programsReject
	case f.recorded:
		return programsAbandon
	}
	return programsNothing
}
