// Package cli is the command line for the control API: the verbs of service on the machine, and
// of keelson ctl on the host. It knows a system only by its control.Client; what only a command
// line on the machine itself can do is a Machine.
//
// The parser is cobra, whose flags follow POSIX and GNU; as LinuxKit's service takes them, names
// of more than one letter may also follow one dash. Mistakes are answered by one line with the
// nearest name, before anything is done. Exit statuses follow systemctl(1) and the LSB.
package cli
