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
	"time"

	"keelson/runtime/bundle"
	"keelson/services/control"
)

const usage = `usage: service [COMMAND]
       service [-v | -q] [--containerd-namespace NS] start|stop|restart [-sock PATH] [-path DIR] NAME…

  list [--json]             list all services (the default)
  status [--json] NAME…     list these services; exit status 3 if one does not run, 4 if one does not exist
  start|stop|restart NAME…  do that, and wait until it is done
  logs [-f] [-n LINES] [NAME…]
                            print logs in the order of time: of services, onboot.NNN-NAME, containerd, kernel,
                            keelson; all without NAME; -f: follow; -n: only the last lines;
                            --since, --until TIME: 15:04, -5m, yesterday, …; --grep REGEX; -o short|json|cat;
                            with one NAME and only -f or -n: its output as it is, stderr first
  events [-f] [--since WHEN] [--json] [NAME…]
                            print what happened to services and to the system; -f: follow it; WHEN: a duration,
                            a time, or the ID of an event
  boot [--json]             print the timeline of the boot
  swap [-f] NAME ARTIFACT   replace a service by a bundle artifact: a file, a folder, or - for standard input;
                            -f: also by one that failed before
  rollback NAME             replace a service by its previous version
  swap [-f] -programs ARTIFACT, rollback -programs
                            the same for containerd, the shim, runc and the supervisor themselves, under running
                            services; -probation TIME: how long they are on trial (30s; at most 40s)
  remove NAME               stop a service that was added, or mask one of the image
                            swap, rollback and remove take -plan: only show what would change
  diff [--json]             list the services that differ from the image
  security [--json] [NAME]  show how far services are isolated from the machine, and what would isolate
                            them further; with NAME, all findings
  poweroff|reboot|halt [-f] shut the machine down; -f: immediately, without stopping anything
  version                   print the version of keelson

Options of LinuxKit's service, for start, stop and restart:
  -v                        print what was done
  -q                        do not (the default)
  --containerd-namespace NS ignored: runtime.json has the namespace of a service
  -sock PATH                ignored: the supervisor knows the socket of containerd
  -path DIR                 must be the folder of this system's services

/init starts these: supervise, containerd, unpack-module, seccomp-filter, stage-artifact,
verify-programs.
`

// invocation is a parsed command line.
type invocation struct {
	verb   string
	names  []string
	json   bool
	follow bool
	force  bool
	plan   bool

	programs  bool // keelson's own programs in place of a service
	probation time.Duration

	since   string // events
	lines   int
	log     logOptions
	path    string // folder of bundles, as LinuxKit's -path; empty: not given
	verbose bool
	out     io.Writer
}

type command struct {
	run       func(context.Context, invocation) (code int, err error)
	arguments string // for people
	min, max  int    // how many names it takes; max < 0: any number
	flags     func(*flag.FlagSet, *invocation)
	linuxkit  bool // LinuxKit's service has it too: it takes the options before the command
}

var commands map[string]command

func init() {
	const names, force = "[-sock PATH] [-path DIR] NAME…", "[-f]"
	commands = map[string]command{
		control.List:     {list, "[--json]", 0, 0, jsonFlag, false},
		"status":         {list, "[--json] NAME…", 1, -1, jsonFlag, false},
		control.Start:    {act, names, 1, -1, linuxkitFlags, true},
		control.Stop:     {act, names, 1, -1, linuxkitFlags, true},
		control.Restart:  {act, names, 1, -1, linuxkitFlags, true},
		control.PowerOff: {power, force, 0, 0, forceFlag, false},
		control.Reboot:   {power, force, 0, 0, forceFlag, false},
		control.Halt:     {power, force, 0, 0, forceFlag, false},
		"logs":           {logs, "[-f] [-n LINES] [--since TIME] [--until TIME] [--grep REGEX] [-o short|json|cat] [NAME…]", 0, -1, logFlags, false},
		"events":         {showEvents, "[-f] [--since WHEN] [--json] [NAME…]", 0, -1, eventFlags, false},
		"boot":           {boot, "[--json]", 0, 0, jsonFlag, false},
		control.Swap:     {swap, "[-plan] [-f] NAME|-programs ARTIFACT|-", 2, 2, swapFlags, false},
		control.Rollback: {rollback, "[-plan] NAME|-programs", 1, 1, rollbackFlags, false},
		control.Remove:   {remove, "[-plan] NAME", 1, 1, planFlag, false},
		control.Diff:     {diff, "[--json]", 0, 0, jsonFlag, false},
		"security":       {assess, "[--json] [NAME]", 0, 1, jsonFlag, false},
		"version":        {showVersion, "", 0, 0, noFlags, false},
		"supervise":      {supervise, "", 0, 0, noFlags, false},
		"containerd":     {startContainerd, "", 0, 0, noFlags, false},
		"unpack-module":  {unpackModule, "", 0, 0, noFlags, false},
		"seccomp-filter": {seccompFilter, "DIR", 1, 1, noFlags, false},
		"stage-artifact": {stageArtifact, "", 0, 0, noFlags, false},

		"verify-programs": {verifyPrograms, "DIR DIGEST", 2, 2, noFlags, false},
	}
}

func noFlags(*flag.FlagSet, *invocation)         {}
func jsonFlag(f *flag.FlagSet, inv *invocation)  { f.BoolVar(&inv.json, "json", false, "") }
func forceFlag(f *flag.FlagSet, inv *invocation) { f.BoolVar(&inv.force, "f", false, "") }

func planFlag(f *flag.FlagSet, inv *invocation) { f.BoolVar(&inv.plan, "plan", false, "") }

func swapFlags(f *flag.FlagSet, inv *invocation) {
	forceFlag(f, inv)
	rollbackFlags(f, inv)
}

func rollbackFlags(f *flag.FlagSet, inv *invocation) {
	planFlag(f, inv)
	f.BoolVar(&inv.programs, "programs", false, "")
	f.DurationVar(&inv.probation, "probation", 0, "")
}

func eventFlags(f *flag.FlagSet, inv *invocation) {
	jsonFlag(f, inv)
	f.BoolVar(&inv.follow, "f", false, "")
	f.StringVar(&inv.since, "since", "", "")
}

// linuxkitFlags are the flags of LinuxKit's start, stop and restart.
func linuxkitFlags(f *flag.FlagSet, inv *invocation) {
	f.String("sock", "", "")
	f.StringVar(&inv.path, "path", "", "")
}

// run runs the command that args name, and returns the exit status.
func run(ctx context.Context, args []string, out io.Writer) (int, error) {
	inv, c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, usage)
		return control.CodeOK, nil
	}
	if err != nil {
		return control.CodeUsage, err
	}
	inv.out = out
	return c.run(ctx, inv)
}

func parse(args []string) (inv invocation, c command, err error) {
	args, options, err := inv.options(args)
	if err != nil {
		return inv, c, fmt.Errorf("%w\n%s", err, usage)
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
		return inv, c, fmt.Errorf("unknown command %q\n%s", inv.verb, usage)
	}
	if err = inv.arguments(c, args); err == nil && len(options) > 0 && !c.linuxkit {
		err = fmt.Errorf("-%s before the command is only for start, stop and restart", options[0])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = fmt.Errorf("%s: %w; usage: %s", inv.verb, err, strings.TrimSpace("service "+inv.verb+" "+c.arguments))
	}
	return inv, c, err
}

// options parses the options before the command. It returns the rest of the command
// line, and the names of the options given.
func (inv *invocation) options(args []string) (rest, given []string, err error) {
	flags := newFlags("service")
	quiet := flags.Bool("q", false, "")
	flags.BoolVar(&inv.verbose, "v", false, "")
	flags.String("containerd-namespace", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	if *quiet && inv.verbose {
		return nil, nil, errors.New("-q and -v exclude each other")
	}
	flags.Visit(func(f *flag.Flag) { given = append(given, f.Name) })
	return flags.Args(), given, nil
}

// arguments parses what follows the command. Flags may follow names.
func (inv *invocation) arguments(c command, args []string) error {
	flags := newFlags(inv.verb)
	c.flags(flags, inv)
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return err
		}
		if args = flags.Args(); len(args) > 0 {
			inv.names, args = append(inv.names, args[0]), args[1:]
		}
	}
	n := len(inv.names)
	if inv.programs { // They take the place of a name.
		c.min, c.max = c.min-1, c.max-1
	}
	switch {
	case inv.probation != 0 && !inv.programs:
		return errors.New("-probation is only for -programs: services have an annotation")
	case c.max == 0 && n > 0:
		return fmt.Errorf("unexpected argument %q", inv.names[0])
	case n > 0 && n < c.min:
		return errors.New("an argument is missing")
	case n < c.min && inv.programs:
		return errors.New("no artifact is named")
	case n < c.min:
		return errors.New("no service is named")
	case c.max > 0 && n > c.max:
		return fmt.Errorf("%d services are named, want %d", n, c.max)
	}
	return nil
}

// newFlags returns a set of flags that prints nothing.
func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// act sends the command to the supervisor. It prints what was done only with -v.
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

// sameBundle returns an error unless the bundle name in the folder given is the one in
// own, the supervisor's folder. A container may see that folder under another path, or
// not at all.
func sameBundle(given, own, name string) error {
	if given == "" || filepath.Clean(given) == own {
		return nil
	}
	other, err := os.Stat(filepath.Join(given, name))
	if err != nil {
		return fmt.Errorf("no bundle in -path: %w", err)
	}
	supervised, err := os.Stat(filepath.Join(own, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cannot compare -path with %s: %w", own, err)
	}
	if !os.SameFile(other, supervised) {
		return fmt.Errorf("-path %s has another bundle than %s: only bundles there are services", given, filepath.Join(own, name))
	}
	return nil
}

// explain adds what to do when there is no control socket.
func explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\nIs the supervisor running? A container needs a bind mount of /run", err)
	}
	return err
}
