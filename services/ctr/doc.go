// Package ctr is the part of containerd's command line ctr that works with keelson's
// containerd: tasks, containers and namespaces. Commands and columns are those of ctr
// (containerd's cmd/ctr). LinuxKit's getty and sshd bind /usr/bin/ctr.
//
// To control services, use service, which asks the supervisor. The supervisor does not
// know of ctr: it restarts a task that ctr has killed.
package ctr
