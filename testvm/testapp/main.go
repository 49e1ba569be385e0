package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// commands maps a subcommand to what it does with its arguments.
var commands map[string]func(args []string) error

func init() {
	commands = map[string]func([]string) error{
		"exit":       exit,       // exit CODE
		"crash":      crash,      // die of SIGKILL
		"print":      printBoth,  // print OUT ERR: to stdout and stderr
		"mark":       mark,       // mark TEXT: to the kernel log
		"sleep":      sleep,      // sleep DURATION, or for ever
		"serve":      serve,      // serve ADDRESS TEXT: to every TCP client
		"trap":       trap,       // trap TEXT: mark TEXT at SIGTERM and end
		"stubborn":   stubborn,   // ignore SIGTERM
		"write":      write,      // write FILE TEXT
		"orphans":    orphans,    // orphans N: leave N to PID 1
		"hog":        hog,        // hog: at SIGUSR1 take memory until killed
		"greedy":     greedy,     // greedy: take what the kernel counts per user or for all, print how much, and keep it
		"namespaces": namespaces, // namespaces: a part of greedy
		"use":        use,        // use: take one of each, print whether that works, and stay
		"until":      until,      // until TEXT COMMAND: run a command until it prints TEXT
		"notify":     notify,     // notify TEXT...: to $NOTIFY_SOCKET, a line each
		"ready":      sayReady,   // ready: say so to $NOTIFY_SOCKET, and sleep for ever
		"key":        key,        // key NAME: have the kernel ask /sbin/request-key for it
		"files":      files,      // files PID DURATION: it can open no more for that long
		"logwrite":   logwrite,   // logwrite SIZE: LinuxKit's
		"help":       help,
	}
}

func main() {
	if err := run(os.Args); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "testapp:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case os.Getpid() == 1 && len(args) <= 1:
		return guest()
	case filepath.Base(args[0]) == "containerd":
		return wrapContainerd(args)
	case filepath.Base(args[0]) == "memlogd":
		return memlogd(args[1:])
	case len(args) < 2 || commands[args[1]] == nil:
		return fmt.Errorf("want one of: %s", strings.Join(slices.Sorted(maps.Keys(commands)), ", "))
	}
	return commands[args[1]](args[2:])
}

func help([]string) error {
	fmt.Println(strings.Join(slices.Sorted(maps.Keys(commands)), "\n"))
	return nil
}

// exitCode is an end with this code and no message.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// arg is args[i], or empty.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
