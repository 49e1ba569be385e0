package task

// Event is what a task reports to its owner.
type Event interface{ isEvent() }

type (
	// Mounted means that the mounts of the container are made. The owner calls Unmount
	// when it does not need them any more; they may outlive the task.
	Mounted struct{ Unmount func() error }
	// Started means that the first process runs.
	Started struct{ PID int }
	// NotStarted is the last event of a task that could not be started.
	NotStarted struct{ Err error }
	// Ready means that the readiness probe succeeded.
	Ready struct{}
	// NotReady means that the readiness probe did not succeed in time.
	NotReady struct{ Err error }
	// Unhealthy means that health checks failed.
	Unhealthy struct{ Err error }
	// StatusChanged means that Status returns something else.
	StatusChanged struct{}
	// Reported means that the service has something for the journal of events.
	Reported struct{ Text string }
	// PIDsRefused means that the kernel refused the container a process for the first
	// time. Text says so.
	PIDsRefused struct{ Text string }
	// OOMKilled means that the kernel killed processes for lack of memory, Count since the last
	// report.
	OOMKilled struct{ Count int }
	// Ended is the last event of a task that was started.
	Ended struct{ Exit Exit }
)

func (Mounted) isEvent()       {}
func (Started) isEvent()       {}
func (NotStarted) isEvent()    {}
func (Ready) isEvent()         {}
func (NotReady) isEvent()      {}
func (Unhealthy) isEvent()     {}
func (StatusChanged) isEvent() {}
func (Reported) isEvent()      {}
func (PIDsRefused) isEvent()   {}
func (OOMKilled) isEvent()     {}
func (Ended) isEvent()         {}
