// Package programs is the role of /init that puts versions of keelson's own programs into use
// and takes them out again (init programs check|try|undo), and the step of the boot that uses
// the committed version.
//
// The programs of a version cover those of the image in /usr/bin and /usr/libexec
// (mounts.CoverPrograms), so that PID 1, containerd and shims find them at the same paths.
// Every file is verified before that (runtime/programs); a version that does not pass is not
// used, and the programs of the image run.
//
// The supervisor decides (services/supervisor). PID 1 starts `init programs undo` when the
// supervisor under trial has ended or takes too long (init/pid1).
package programs
