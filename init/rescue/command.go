package rescue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// command is a command of the prompt, as help shows it.
type command struct {
	verb, args, does string
}

// commands are listed in the order of help. reboot, poweroff and halt are named as in
// `service`.
var commands = []command{
	{"help", "", "this list"},
	{"list", "", "onboot containers: results so far, and those to come"},
	{"log", "NAME [LINES]", "the end of what a container wrote"},
	{"dmesg", "[LINES]", "the end of the kernel log"},
	{"shell", "", "the image's rescue shell"},
	{"retry", "", "run the failed container again; continue when it succeeds"},
	{"continue", "", "continue with the next container, then start the services"},
	{"reboot", "", "reboot, in order"},
	{"poweroff", "", "power off, in order"},
	{"halt", "", "halt, in order"},
}

const (
	defaultLines = 40
	maxLines     = 100_000
)

// invocation is a parsed line of the prompt.
type invocation struct {
	verb  string // empty if nothing was typed
	name  string
	lines int
}

// exitWords leave other programs. At the prompt their meaning would be ambiguous.
var exitWords = []string{"exit", "quit", "logout", "q"}

// parse parses a line. The error is written for the person at the prompt.
func parse(line string) (invocation, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return invocation{}, nil
	}
	inv := invocation{verb: strings.ToLower(words[0]), lines: defaultLines}
	args := words[1:]
	if inv.verb == "?" {
		inv.verb = "help"
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.verb == inv.verb })
	switch {
	case slices.Contains(exitWords, inv.verb):
		return inv, fmt.Errorf("to leave the prompt, type retry, continue, reboot, poweroff or halt")
	case i < 0:
		return inv, fmt.Errorf("no such command: %s; help lists the commands", quote(words[0]))
	}
	if inv.verb == "log" {
		if len(args) == 0 {
			return inv, fmt.Errorf("log needs the name of a container; list shows the names")
		}
		inv.name, args = args[0], args[1:]
	}
	if takesLines := strings.Contains(commands[i].args, "LINES"); takesLines && len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > maxLines {
			return inv, fmt.Errorf("%s is not a number of lines from 1 to %d", quote(args[0]), maxLines)
		}
		inv.lines, args = n, args[1:]
	}
	if len(args) > 0 {
		return inv, fmt.Errorf("unexpected argument %s; usage: %s %s", quote(args[0]), inv.verb, commands[i].args)
	}
	return inv, nil
}

// quote quotes typed text as ASCII and shortens it.
func quote(word string) string {
	const most = 40
	if len(word) > most {
		return strconv.QuoteToASCII(word[:most]) + "…"
	}
	return strconv.QuoteToASCII(word)
}

// lastLines returns at most the last n lines of text, with a newline at the end.
func lastLines(text string, n int) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return ""
	}
	from := len(text)
	for ; n > 0 && from >= 0; n-- {
		from = strings.LastIndexByte(text[:from], '\n')
	}
	return text[from+1:] + "\n"
}
