package ctr

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"keelson/runtime/paths"
	"keelson/runtime/signals"
)

const usage = `usage: ctr [-n NAMESPACE] [-a SOCKET] COMMAND

  tasks ls [-q]                       tasks of the namespace
  tasks ps TASK                       processes of a task
  tasks exec --exec-id ID [-t] [-d] [--cwd DIR] [--user UID[:GID]] TASK COMMAND…
                                      run a program in a task
  tasks kill [-s SIGNAL] [-a | --exec-id ID] TASK
  tasks pause|resume TASK
  containers ls [-q]                  containers of the namespace
  containers info [--spec] CONTAINER
  namespaces ls [-q]
  version

  -n, --namespace NAMESPACE           services run in services.linuxkit; the default is "default"
  -a, --address SOCKET                the default is ` + defaultSocket + `

This is keelson's ctr. For other commands add containerd's ctr to the image: as
/usr/bin/ctr in files:, or with an image after keelson's in init:.
`

const (
	defaultSocket    = paths.ContainerdSocket
	defaultNamespace = "default"
)

// errUnsupported is returned for a command or flag that only containerd's ctr has.
var errUnsupported = errors.New("keelson's ctr does not support this; add containerd's ctr to the image (as /usr/bin/ctr in files:, or with an image after keelson's in init:)")

// invocation is a parsed command line.
type invocation struct {
	socket, namespace string
	timeout           time.Duration // 0: none
	verb              string        // such as "tasks ls"
	quiet             bool
	id                string   // of a task or container
	args              []string // of exec: program and arguments
	execID, cwd, user string
	tty, detach, all  bool
	spec              bool
	signal            syscall.Signal
}

// group returns the full name of a group of commands; empty if it does not exist.
func group(name string) string {
	switch name {
	case "t", "task", "tasks":
		return "tasks"
	case "c", "container", "containers":
		return "containers"
	case "ns", "namespace", "namespaces":
		return "namespaces"
	}
	return ""
}

func parse(args []string) (inv invocation, err error) {
	flags := newFlags(&inv)
	for _, name := range []string{"n", "namespace"} {
		flags.StringVar(&inv.namespace, name, environment("CONTAINERD_NAMESPACE", defaultNamespace), "")
	}
	for _, name := range []string{"a", "address"} {
		flags.StringVar(&inv.socket, name, environment("CONTAINERD_ADDRESS", defaultSocket), "")
	}
	flags.DurationVar(&inv.timeout, "timeout", 0, "")
	flags.Duration("connect-timeout", 0, "")
	flags.Bool("debug", false, "")
	version := flags.Bool("version", false, "")
	flags.BoolVar(version, "v", false, "")
	if err := flags.Parse(args); err != nil {
		return inv, err
	}
	args = flags.Args()
	inv.socket = strings.TrimPrefix(inv.socket, "unix://")
	switch {
	case *version:
		inv.verb = "--version"
		return inv, nil
	case len(args) == 0 || args[0] == "help" || args[0] == "h":
		return inv, flag.ErrHelp
	case args[0] == "version":
		inv.verb = args[0]
		return inv, inv.parseRest(args[1:], 0)
	}
	group := group(args[0])
	if group == "" {
		return inv, fmt.Errorf("%s: %w", args[0], errUnsupported)
	}
	if len(args) == 1 || args[1] == "help" {
		return inv, flag.ErrHelp
	}
	return inv, inv.parseVerb(group, args[1], args[2:])
}

// parseVerb parses what follows a group of commands.
func (inv *invocation) parseVerb(group, verb string, args []string) error {
	if verb == "list" {
		verb = "ls"
	}
	inv.verb = group + " " + verb
	switch inv.verb {
	case "tasks ls", "containers ls", "namespaces ls":
		return inv.parseRest(args, 0)
	case "tasks ps", "tasks kill", "tasks pause", "tasks resume", "containers info":
		return inv.parseRest(args, 1)
	case "tasks exec":
		return inv.parseExec(args)
	}
	return fmt.Errorf("%s: %w", inv.verb, errUnsupported)
}

// parseRest parses the flags and names of a command. Flags may follow names.
func (inv *invocation) parseRest(args []string, names int) error {
	flags := newFlags(inv)
	var signal string
	switch inv.verb {
	case "tasks ls", "containers ls", "namespaces ls":
		flags.BoolVar(&inv.quiet, "q", false, "")
		flags.BoolVar(&inv.quiet, "quiet", false, "")
	case "tasks kill":
		flags.StringVar(&signal, "s", "SIGTERM", "")
		flags.StringVar(&signal, "signal", "SIGTERM", "")
		flags.StringVar(&inv.execID, "exec-id", "", "")
		flags.BoolVar(&inv.all, "a", false, "")
		flags.BoolVar(&inv.all, "all", false, "")
	case "containers info":
		flags.BoolVar(&inv.spec, "spec", false, "")
	}
	found, err := parseMixed(flags, args)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", inv.verb, err)
	case len(found) > names:
		return fmt.Errorf("%s: %q: %w", inv.verb, found[names], errUnsupported)
	case len(found) < names:
		return fmt.Errorf("%s: container id must be provided", inv.verb)
	case inv.all && inv.execID != "":
		return errors.New("specify an exec-id or all; not both")
	case names > 0:
		inv.id = found[0]
	}
	return inv.setSignal(signal)
}

// parseMixed parses flags that may follow names, and returns the names.
func parseMixed(flags *flag.FlagSet, args []string) (names []string, err error) {
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) > 0 {
			names, args = append(names, args[0]), args[1:]
		}
	}
	return names, nil
}

// setSignal sets a signal by number or by name.
func (inv *invocation) setSignal(name string) error {
	if name == "" {
		return nil
	}
	signal, ok := signals.Parse(name)
	if !ok {
		return fmt.Errorf("%s: unknown signal %q", inv.verb, name)
	}
	inv.signal = signal
	return nil
}

// parseExec parses flags, then task, program and its arguments.
func (inv *invocation) parseExec(args []string) error {
	flags := newFlags(inv)
	flags.StringVar(&inv.execID, "exec-id", "", "")
	flags.StringVar(&inv.cwd, "cwd", "", "")
	flags.StringVar(&inv.user, "user", "", "")
	flags.BoolVar(&inv.tty, "t", false, "")
	flags.BoolVar(&inv.tty, "tty", false, "")
	flags.BoolVar(&inv.detach, "d", false, "")
	flags.BoolVar(&inv.detach, "detach", false, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", inv.verb, err)
	}
	switch {
	case inv.execID == "" || strings.ContainsAny(inv.execID, "/\x00"):
		return fmt.Errorf("%s: want --exec-id with a name for the process, which has no slash", inv.verb)
	case inv.tty && inv.detach:
		return fmt.Errorf("%s: -t and -d exclude each other", inv.verb)
	case flags.NArg() == 0:
		return fmt.Errorf("%s: container id must be provided", inv.verb)
	case flags.NArg() == 1:
		return fmt.Errorf("%s: want the program to run", inv.verb)
	}
	inv.id, inv.args = flags.Arg(0), flags.Args()[1:]
	return nil
}

// newFlags returns a set of flags that prints nothing.
func newFlags(inv *invocation) *flag.FlagSet {
	flags := flag.NewFlagSet(inv.verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
