// Package ctr is the part of containerd's command line ctr that can be had with
// keelson's containerd: tasks, containers and namespaces, in ctr's words and with
// its columns (containerd's cmd/ctr). LinuxKit's getty and sshd bind /usr/bin/ctr.
//
// It is not for scripts of keelson's own, which ask the supervisor by service. What
// it does behind the supervisor's back counts as an accident there: a task that it
// kills is started again.
package ctr
