// Package powercut tells what is on a disk when the power of its machine is cut.
//
// A disk may keep what is written to it in memory of its own until it is told to
// flush. QEMU logs what a guest writes and flushes (qemu.Disk.Log); Replay writes
// to a copy of the disk from before all that was flushed, and of the rest what
// the caller's chance leaves, Unit by Unit. So a guest that takes for safe what
// it has not flushed loses it, which killing QEMU alone does not show.
//
// It is not for the moment of the cut (vm.VM.Cut) nor for what should survive.
//
// Sources: the format of dm-log-writes (kernel,
// admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c), as
// QEMU's block driver blklogwrites writes it. Offsets are in bytes.
package powercut
