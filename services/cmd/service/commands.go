package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"keelson/services/control"
)

const usage = `usage: service [COMMAND]

  list [--json]             what runs (the default)
  status [--json] NAME…     one or more services; exit status 3 when one does not run, 4 when there is none of that name
  start|stop|restart NAME…  and wait until done
  logs [-f] [-n LINES] NAME what a service wrote, stderr and stdout
  boot [--json]             what the boot was spent on
  poweroff|reboot|halt [-f] the machine; with -f at once, stopping nothing
  supervise                 be the supervisor (started by /init)
`

// invocation is a command line taken apart.
type invocation struct {
	verb   string
	names  []string
	json   bool
	follow bool
	force  bool
	lines  int
	out    io.Writer
}

type command struct {
	run      func(context.Context, invocation) (code int, err error)
	min, max int // names it takes; max < 0: any number
}

var commands map[string]command

func init() {
	commands = map[string]command{
		control.List:     {list, 0, 0},
		"status":         {list, 1, -1},
		control.Start:    {act, 1, -1},
		control.Stop:     {act, 1, -1},
		control.Restart:  {act, 1, -1},
		control.PowerOff: {power, 0, 0},
		control.Reboot:   {power, 0, 0},
		control.Halt:     {power, 0, 0},
		"logs":           {logs, 1, 1},
		"boot":           {boot, 0, 0},
		"supervise":      {supervise, 0, 0},
		"containerd":     {startContainerd, 0, 0},
	}
}

// run does what args say and returns the exit status.
func run(ctx context.Context, args []string, out io.Writer) (int, error) {
	if len(args) == 0 {
		args = []string{control.List}
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, usage)
		return control.CodeOK, nil
	}
	inv, c, err := parse(args)
	if err != nil {
		return control.CodeUsage, fmt.Errorf("%w\n%s", err, usage)
	}
	inv.out = out
	return c.run(ctx, inv)
}

func parse(args []string) (invocation, command, error) {
	inv := invocation{verb: args[0]}
	c, ok := commands[inv.verb]
	if !ok {
		return inv, c, fmt.Errorf("unknown command %q", inv.verb)
	}
	flags := flag.NewFlagSet(inv.verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&inv.json, "json", false, "")
	if _, down := ways[inv.verb]; down {
		flags.BoolVar(&inv.force, "f", false, "")
	} else {
		flags.BoolVar(&inv.follow, "f", false, "")
	}
	flags.IntVar(&inv.lines, "n", 0, "")
	for rest := args[1:]; len(rest) > 0; { // Flags may follow names.
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

func wanted(c command) string {
	switch {
	case c.max == 0:
		return "takes no name"
	case c.max == 1:
		return "takes the name of one service"
	}
	return "takes the name of at least one service"
}

// act asks the supervisor to do something and says only what went wrong.
func act(ctx context.Context, inv invocation) (int, error) {
	r, err := control.Call(ctx, control.SocketPath, control.Request{Verb: inv.verb, Names: inv.names})
	if err != nil {
		return control.CodeFailed, explain(err)
	}
	if r.Error != "" {
		return max(r.Code, control.CodeFailed), errors.New(r.Error)
	}
	return r.Code, nil
}

// explain adds what to do where a container was not given the socket.
func explain(err error) error {
	if strings.Contains(err.Error(), "no such file") {
		return fmt.Errorf("%w\nIs the supervisor running? A container needs /run bound into it", err)
	}
	return err
}
