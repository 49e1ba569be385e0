// Package powercut computes the contents of a disk when the power of its machine is cut.
//
// A disk may hold written data in its cache until it receives a flush. QEMU logs the writes
// and flushes of a guest (qemu.Disk.Log). Replay applies to an earlier copy of the disk all
// data that were flushed, and a random part of the rest, Unit by Unit. So a guest that
// relies on data that it has not flushed loses them; killing QEMU alone does not show that.
//
// It does not cut the power (vm.VM.Cut) and does not define what must survive.
//
// Sources: the format of dm-log-writes (kernel,
// admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c), as
// QEMU's block driver blklogwrites writes it. Offsets are in bytes.
package powercut
