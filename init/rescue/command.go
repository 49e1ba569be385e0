package rescue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// command is one that can be typed at the prompt.
type command struct {
	verb, args, does string
}

// commands in the order of help. The machine's own are the words of `service`.
var commands = []command{
	{"help", "", "this list"},
	{"list", "", "onboot containers: results so far, and those to come"},
	{"log", "NAME [LINES]", "the end of what a container wrote"},
	{"dmesg", "[LINES]", "the end of the kernel log"},
	{"shell", "", "the image's rescue shell"},
	{"retry", "", "run the failed container again, and go on when it succeeds"},
	{"continue", "", "go on with the next container, and in the end the services"},
	{"reboot", "", "reboot, in order"},
	{"poweroff", "", "power off, in order"},
	{"halt", "", "halt, in order"},
}

const (
	defaultLines = 40
	mostLines    = 100_000
)

// order is a line of the prompt taken apart.
type order struct {
	verb  string // empty: nothing was typed
	name  string
	lines int
}

// leaving are words that elsewhere leave; here they may mean several things.
var leaving = []string{"exit", "quit", "logout", "q"}

// parse takes a line apart. The error tells the person what is wrong.
func parse(line string) (order, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return order{}, nil
	}
	o := order{verb: strings.ToLower(words[0]), lines: defaultLines}
	args := words[1:]
	if o.verb == "?" {
		o.verb = "help"
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.verb == o.verb })
	switch {
	case slices.Contains(leaving, o.verb):
		return o, fmt.Errorf("how is the boot to go on? Type retry, continue, reboot, poweroff or halt")
	case i < 0:
		return o, fmt.Errorf("no such command: %s. This is no shell; help lists what there is", quote(words[0]))
	}
	if o.verb == "log" {
		if len(args) == 0 {
			return o, fmt.Errorf("whose log? list shows the names")
		}
		o.name, args = args[0], args[1:]
	}
	if takesLines := strings.Contains(commands[i].args, "LINES"); takesLines && len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > mostLines {
			return o, fmt.Errorf("%s is no number of lines, from 1 to %d", quote(args[0]), mostLines)
		}
		o.lines, args = n, args[1:]
	}
	if len(args) > 0 {
		return o, fmt.Errorf("%s is too much; usage: %s %s", quote(args[0]), o.verb, commands[i].args)
	}
	return o, nil
}

// quote makes what was typed harmless, and short.
func quote(word string) string {
	const most = 40
	if len(word) > most {
		return strconv.QuoteToASCII(word[:most]) + "…"
	}
	return strconv.QuoteToASCII(word)
}

// lastLines is the end of text, n lines at most, and ends a line.
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
