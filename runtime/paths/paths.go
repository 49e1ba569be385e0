// Package paths holds the paths that more than one package of the guest uses. Images
// and other programs rely on them: they do not change.
package paths

const (
	// State is keelson's folder of what is lost at a reboot.
	State = "/run/keelson"
	// Programs is the folder of files of a swap of keelson's own programs. ProgramsTrial
	// exists while programs are on trial.
	Programs      = State + "/programs"
	ProgramsTrial = Programs + "/trial"
	// Gate is the folder of the socket of the control API for the gate.
	Gate = State + "/gate"
	// Logs is the folder of all logs.
	Logs = "/var/log"

	Service       = "/usr/bin/service" // also the supervisor
	Containerd    = "/usr/bin/containerd"
	ContainerdLog = Logs + "/containerd.log"
	Runc          = "/usr/bin/runc"

	// ContainerdState is containerd's folder of what is lost at a reboot.
	ContainerdState  = "/run/containerd"
	ContainerdSocket = ContainerdState + "/containerd.sock"
	ShimSockets      = ContainerdState + "/s"
)
