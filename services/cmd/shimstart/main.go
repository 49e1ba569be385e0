// Command shimstart is the program that containerd runs as its shim for runc
// (/usr/bin/containerd-shim-runc-v2). It starts the shim itself (services/cmd/shim in
// /usr/libexec), which runs as long as its container. Upstream's shim starts itself, so
// that a large program starts twice.
//
// In special cases (options of runc, groups of containers with a common shim, debugging, an
// address in use, other commands) it executes the shim with the same arguments.
package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// shim is the path of the shim: in ../libexec of this program's folder.
var shim = "/usr/libexec/containerd-shim-runc-v2"

func main() {
	if self, err := os.Readlink("/proc/self/exe"); err == nil {
		shim = filepath.Join(filepath.Dir(self), "../libexec", filepath.Base(shim))
	}
	if err := run(os.Args); err != nil {
		os.Stderr.WriteString(os.Args[0] + ": " + err.Error() + "\n")
		os.Exit(1)
	}
}

func run(args []string) error {
	if args[len(args)-1] != "start" {
		return execShim(args)
	}
	input, err := readAll(os.Stdin)
	if err != nil {
		return wrap("cannot read the parameters of containerd", err)
	}
	if p, ok := parse(input); ok && isOrdinary(p) {
		if result, err := start(args[0], p); err == nil || !inUse(err) {
			_, _ = os.Stdout.Write(result)
			return err
		}
	}
	if err := restoreInput(input); err != nil {
		return err
	}
	return execShim(args)
}

// execShim executes the shim with the same arguments.
func execShim(args []string) error {
	return wrap("cannot execute "+shim, unix.Exec(shim, args, os.Environ()))
}

// restoreInput makes input the standard input again.
func restoreInput(input []byte) error {
	fd, err := unix.MemfdCreate("bootstrap", 0)
	if err != nil {
		return wrap("cannot make a file in memory", err)
	}
	if _, err := unix.Write(fd, input); err != nil {
		return wrap("cannot write to a file in memory", err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return wrap("cannot seek in a file in memory", err)
	}
	return wrap("cannot use a file in memory as standard input", unix.Dup3(fd, 0, 0))
}

// failure is an error with what failed. Initialising package fmt would take longer than
// the whole program.
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
