// Package programs describes versions of keelson's own programs (containerd, the shim, runc,
// the supervisor and its command line) that replace those of the image while the machine
// runs: which files an artifact may hold, how they are verified, and the files by which the
// processes that take part in a swap know how far it is.
//
// A version is a folder of the store (services/versions), below Dir:
//
//	manifest.json  the manifest, whose SHA-256 is the digest that a signature covers
//	programs.json  its configuration: the digest of each file
//	artifact.json  what the reader says of it (package artifact)
//	rootfs/        usr/bin and usr/libexec
//
// Package verify follows the digests from the version's name to each file, so that neither
// the process that unpacked the artifact nor a disk can exchange a program.
//
// Trial, Outcome and Used are files below State, which a reboot removes. TrialFile exists
// while programs are on trial. PID 1 looks whether it exists and reads none of them.
//
// The package mounts and starts nothing (init/programs), and decides nothing
// (services/supervisor).
package programs
