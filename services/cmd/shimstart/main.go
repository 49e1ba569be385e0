// Command shimstart is what containerd knows as its shim for runc
// (/usr/bin/containerd-shim-runc-v2): it starts the shim proper
// (services/cmd/shim), which lies in /usr/libexec and stays as long as its
// container. Upstream the shim starts itself, which pays the start of a large
// program twice.
//
// Whatever is out of the ordinary (options for runc, groups of containers that
// share a shim, debugging, an address in use, other commands) it leaves to the
// shim proper, by becoming that.
package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// server is the shim proper: ../libexec beside this program's folder.
var server = "/usr/libexec/containerd-shim-runc-v2"

func main() {
	if self, err := os.Readlink("/proc/self/exe"); err == nil {
		server = filepath.Join(filepath.Dir(self), "../libexec", filepath.Base(server))
	}
	if err := run(os.Args); err != nil {
		os.Stderr.WriteString(os.Args[0] + ": " + err.Error() + "\n")
		os.Exit(1)
	}
}

func run(args []string) error {
	if args[len(args)-1] != "start" {
		return become(args)
	}
	input, err := readAll(os.Stdin)
	if err != nil {
		return wrap("cannot read what containerd asks for", err)
	}
	if p, ok := parse(input); ok && ordinary(p) {
		if result, err := start(args[0], p); err == nil || !inUse(err) {
			_, _ = os.Stdout.Write(result)
			return err
		}
	}
	if err := giveBack(input); err != nil {
		return err
	}
	return become(args)
}

// become executes the shim proper with the same arguments.
func become(args []string) error {
	return wrap("cannot execute "+server, unix.Exec(server, args, os.Environ()))
}

// giveBack makes input readable again as standard input.
func giveBack(input []byte) error {
	fd, err := unix.MemfdCreate("bootstrap", 0)
	if err != nil {
		return wrap("cannot make a file in memory", err)
	}
	if _, err := unix.Write(fd, input); err != nil {
		return wrap("cannot write to a file in memory", err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return wrap("cannot wind back a file in memory", err)
	}
	return wrap("cannot take a file in memory as standard input", unix.Dup3(fd, 0, 0))
}

// failure is an error that says what could not be done; package fmt would cost
// more to start than all of this program.
type failure struct {
	what string
	err  error
}

func (f failure) Error() string { return f.what + ": " + f.err.Error() }

func (f failure) Unwrap() error { return f.err }

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return failure{what, err}
}
