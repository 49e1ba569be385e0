package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/version"
	"keelson/services/control"
)

const usage = `usage: service [OPTIONS] [COMMAND]

  list [--json]             what runs (the default)
  status [--json] NAME…     one or more services; exit status 3 when one does not run, 4 when there is none of that name
  start|stop|restart NAME…  and wait until done
  logs [-f] [-n LINES] NAME what a service wrote, stderr and stdout
  boot [--json]             what the boot was spent on
  poweroff|reboot|halt [-f] the machine; with -f at once, stopping nothing
  version                   which build of keelson this is
  supervise                 be the supervisor (started by /init)
  unpack-module             a compressed kernel module, from standard input to output (started by /init)

Options before the command, as LinuxKit's service has them:
  -v                        say what was done
  -q                        do not; the default
  --containerd-namespace NS ignored: runtime.json has the namespace of a service

start, stop and restart also take LinuxKit's -sock PATH, which is ignored, and
-path DIR, which must be where the services of this system are.
`

// invocation is a command line taken apart.
type invocation struct {
	verb    string
	names   []string
	json    bool
	follow  bool
	force   bool
	lines   int
	path    string // folder of bundles, as LinuxKit's -path; empty: not given
	verbose bool
	out     io.Writer
}

type command struct {
	run      func(context.Context, invocation) (code int, err error)
	min, max int // names it takes; max < 0: any number
	flags    func(*flag.FlagSet, *invocation)
}

var commands map[string]command

func init() {
	commands = map[string]command{
		control.List:     {list, 0, 0, jsonFlag},
		"status":         {list, 1, -1, jsonFlag},
		control.Start:    {act, 1, -1, linuxkitFlags},
		control.Stop:     {act, 1, -1, linuxkitFlags},
		control.Restart:  {act, 1, -1, linuxkitFlags},
		control.PowerOff: {power, 0, 0, forceFlag},
		control.Reboot:   {power, 0, 0, forceFlag},
		control.Halt:     {power, 0, 0, forceFlag},
		"logs":           {logs, 1, 1, logFlags},
		"boot":           {boot, 0, 0, jsonFlag},
		"version":        {showVersion, 0, 0, noFlags},
		"supervise":      {supervise, 0, 0, noFlags},
		"containerd":     {startContainerd, 0, 0, noFlags},
		"unpack-module":  {unpackModule, 0, 0, noFlags},
	}
}

func showVersion(_ context.Context, inv invocation) (int, error) {
	_, err := fmt.Fprintln(inv.out, version.Line("service"))
	return control.CodeOK, err
}

func noFlags(*flag.FlagSet, *invocation)         {}
func jsonFlag(f *flag.FlagSet, inv *invocation)  { f.BoolVar(&inv.json, "json", false, "") }
func forceFlag(f *flag.FlagSet, inv *invocation) { f.BoolVar(&inv.force, "f", false, "") }

func logFlags(f *flag.FlagSet, inv *invocation) {
	f.BoolVar(&inv.follow, "f", false, "")
	f.IntVar(&inv.lines, "n", 0, "")
}

// linuxkitFlags are those of LinuxKit's start, stop and restart. The socket of
// containerd is the supervisor's business, whatever its path here.
func linuxkitFlags(f *flag.FlagSet, inv *invocation) {
	f.String("sock", "", "")
	f.StringVar(&inv.path, "path", "", "")
}

// run does what args say and returns the exit status.
func run(ctx context.Context, args []string, out io.Writer) (int, error) {
	inv, c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, usage)
		return control.CodeOK, nil
	}
	if err != nil {
		return control.CodeUsage, fmt.Errorf("%w\n%s", err, usage)
	}
	inv.out = out
	return c.run(ctx, inv)
}

func parse(args []string) (inv invocation, c command, err error) {
	if args, err = inv.options(args); err != nil {
		return inv, c, err
	}
	inv.verb = control.List
	if len(args) > 0 {
		inv.verb, args = args[0], args[1:]
	}
	if inv.verb == "help" {
		return inv, c, flag.ErrHelp
	}
	c, ok := commands[inv.verb]
	if !ok {
		return inv, c, fmt.Errorf("unknown command %q", inv.verb)
	}
	flags := newFlags(inv.verb)
	c.flags(flags, &inv)
	for rest := args; len(rest) > 0; { // Flags may follow names.
		if err := flags.Parse(rest); err != nil {
			return inv, c, fmt.Errorf("%s: %w", inv.verb, err)
		}
		rest = flags.Args()
		if len(rest) > 0 {
			inv.names, rest = append(inv.names, rest[0]), rest[1:]
		}
	}
	if n := len(inv.names); n < c.min || c.max >= 0 && n > c.max {
		return inv, c, fmt.Errorf("%s: %s", inv.verb, wanted(c))
	}
	return inv, c, nil
}

// options takes those before the command and returns what follows.
func (inv *invocation) options(args []string) ([]string, error) {
	flags := newFlags("service")
	quiet := flags.Bool("q", false, "")
	flags.BoolVar(&inv.verbose, "v", false, "")
	flags.String("containerd-namespace", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *quiet && inv.verbose {
		return nil, errors.New("-q and -v exclude each other")
	}
	return flags.Args(), nil
}

// newFlags is a set of flags that prints nothing by itself.
func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

func wanted(c command) string {
	switch {
	case c.max == 0:
		return "takes no name"
	case c.max == 1:
		return "takes the name of one service"
	}
	return "takes the name of at least one service"
}

// act asks the supervisor to do something and says what went wrong, or with -v
// what was done.
func act(ctx context.Context, inv invocation) (int, error) {
	for _, name := range inv.names {
		if err := sameBundle(inv.path, bundle.ServicesDir, name); err != nil {
			return control.CodeFailed, fmt.Errorf("cannot %s %s: %w", inv.verb, name, err)
		}
	}
	r, err := control.Call(ctx, control.SocketPath, control.Request{Verb: inv.verb, Names: inv.names})
	if err != nil {
		return control.CodeFailed, explain(err)
	}
	if r.Error != "" {
		return max(r.Code, control.CodeFailed), errors.New(r.Error)
	}
	if inv.verbose {
		fmt.Fprintf(inv.out, "%s %s: done\n", inv.verb, strings.Join(inv.names, " "))
	}
	return r.Code, nil
}

// sameBundle refuses a bundle that the supervisor does not know: it serves those
// of its own folder. A container may see that folder elsewhere, or not at all.
func sameBundle(given, own, name string) error {
	if given == "" || filepath.Clean(given) == own {
		return nil
	}
	theirs, err := os.Stat(filepath.Join(given, name))
	if err != nil {
		return fmt.Errorf("no bundle in -path: %w", err)
	}
	ours, err := os.Stat(filepath.Join(own, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cannot compare -path with %s: %w", own, err)
	}
	if !os.SameFile(theirs, ours) {
		return fmt.Errorf("-path %s is another bundle than %s: only bundles there are services", given, filepath.Join(own, name))
	}
	return nil
}

// explain adds what to do where a container was not given the socket.
func explain(err error) error {
	if strings.Contains(err.Error(), "no such file") {
		return fmt.Errorf("%w\nIs the supervisor running? A container needs /run bound into it", err)
	}
	return err
}
