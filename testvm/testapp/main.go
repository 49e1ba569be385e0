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
		"sleep":      sleep,      // sleep [DURATION]: default: forever
		"serve":      serve,      // serve ADDRESS TEXT: to every TCP client
		"get":        get,        // get SOCKET PATH: print what HTTP over a Unix socket answers
		"relay":      relay,      // relay ADDRESS PORT: pass TCP connections on to a port of vsock on this machine
		"ask":        ask,        // ask ADDRESS FILE: connect all the time until the file exists, and print which texts were sent
		"listen":     listen,     // listen TEXT: to every client of the sockets of sd_listen_fds(3)
		"trap":       trap,       // trap TEXT: wait for SIGTERM, then mark TEXT and exit
		"stubborn":   stubborn,   // ignore SIGTERM and sleep
		"sync":       syncDisks,  // write all data to the disks, and wait for that
		"write":      write,      // write FILE TEXT
		"orphans":    orphans,    // orphans N: make N orphans
		"hog":        hog,        // wait for SIGUSR1, then take memory until killed
		"greedy":     greedy,     // take all of a limited resource, print how much, and keep it
		"namespaces": namespaces, // a part of greedy
		"use":        use,        // take one of each resource, print whether that works, and keep it
		"until":      until,      // until TEXT COMMAND: run a command until it prints TEXT
		"notify":     notify,     // notify TEXT...: send lines to $NOTIFY_SOCKET
		"ready":      sayReady,   // [FILE TEXT]: send READY=1 to $NOTIFY_SOCKET, write to the file, and sleep
		"key":        key,        // key NAME: request a key by /sbin/request-key
		"files":      files,      // files PID DURATION: prevent a process from opening files
		"logwrite":   logwrite,   // logwrite SIZE: write the logs of memlogd to files
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

// exitCode is an error that ends the program with this code and no message.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// arg returns args[i], or "" if there are not so many.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
