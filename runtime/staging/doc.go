// Package staging reads a bundle artifact, or a plain container image, into an empty
// folder. It trusts nothing of the artifact. It validates neither config.json nor
// signatures: that is the task of its caller.
//
// # Confinement
//
// Stage runs in the supervisor and parses nothing of the artifact. It starts a child
// (Main) that gets the artifact on its standard input and answers on its standard output. The
// input is a pipe or a file, which the child can read and do nothing else with (readfile.Reopen).
// Before the child reads the first byte, it gives up what it does not need, and executes
// itself again:
//
//   - Its user, mount, PID, network, IPC and UTS namespaces are its own. All users and
//     groups are mapped to themselves, so that files can have any owner. It may make no
//     more namespaces. A kernel that refuses a user namespace is reported once; the rest
//     holds without it.
//   - The staging folder is its root, and everything else is unmounted. On that mount,
//     device nodes, set-user-ID and all programs are without effect.
//   - Of its capabilities, CHOWN, DAC_OVERRIDE, FOWNER, FSETID and SETFCAP are left, also in the
//     bounding set, and no_new_privs is set.
//   - Landlock, from version 2 on, allows regular files, folders and links below the root.
//     It forbids devices, FIFOs, sockets, TCP and signals to others.
//   - A filter of system calls (seccomp) denies what reading an artifact does not need, on all
//     threads: other processes and programs, namespaces, mounts, sockets, and parts of the
//     kernel such as bpf(2) and io_uring. Calls newer than the list do not exist for it. A
//     kernel without filters is logged; the rest holds without it.
//   - Memory, CPU time, descriptors and the size of files are limited. The kernel kills it
//     first when memory is short, and it does not outlive its parent.
//
// Capabilities, no_new_privs and Landlock belong to a thread, and a Go program has
// several. execve(2) ends all threads but the one that calls it. So the child sets them on
// one thread and executes itself from there, by the descriptor of its program, which the
// new root does not contain. The program must be static for the same reason.
//
// Digest starts such a child for a file of a version: the verification of an erofs image may be
// deferred until the service runs from it (Options.DeferRoot), since dm-verity verifies what is
// read.
//
// Whether the kernel can mount an erofs image is found out while the child starts, since modules may have to
// be loaded for that. The child reads the answer from a pipe.
//
// The parent bounds what it reads of the child, checks the values of its answer, and that
// the folder has the expected files and no links in their place. A child that an artifact
// has taken over can still lie about the content: also about the digest.
//
// It costs about 0.03 s of CPU time (BenchmarkStage: two starts of the program, and its
// namespaces) and 14 MiB of memory, and 0.07 s with an erofs image of 100 MiB whose digest is deferred.
// With a root of 100 MB in 2000 files, half of it incompressible, the whole takes 0.4 s of CPU time
// as an erofs image, and 0.8 s, 1.1 s and 0.9 s as layers in zstd, gzip and without compression; memory
// stays below 30 MiB.
// The window of a layer in zstd, at most 128 MiB, comes on top.
//
// Sources: OCI image specification 1.1 (image-layout.md, image-index.md, manifest.md,
// layer.md); user_namespaces(7), mount_namespaces(7), capabilities(7), landlock(7),
// pivot_root(2), setrlimit(2), execveat(2), PR_SET_PDEATHSIG(2const),
// seccomp(2).
package staging
