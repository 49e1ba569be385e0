// Package role names the roles of /init: what PID 1 does not do itself it has done by
// a process of the same program, started with the name of a role.
package role

// Init is the path of the program.
const Init = "/init"

// The names of roles, each the first argument of Init.
const (
	Boot     = "boot"     // drivers, clock, names, network, onboot containers
	Files    = "files"    // copies files of the image that mounts cover
	Network  = "network"  // configures devices of ip= that appear late
	Devices  = "devices"  // drivers of buttons and input devices
	Names    = "names"    // links in /dev/disk and /dev/serial
	Late     = "late"     // scripts that run after the services have started
	Shutdown = "shutdown" // onshutdown containers and scripts
	Root     = "root"     // mounts a root on a disk
	Programs = "programs" // uses versions of keelson's own programs
	Script   = "script"   // interprets a script whose shell is missing
)
