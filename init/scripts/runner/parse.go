package runner

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// plainLimit bounds a script that is run without a shell, in bytes.
const plainLimit = 64 << 10

// shells are the interpreters whose plain scripts Interpret can run.
var shells = []string{"sh", "ash", "dash", "bash"}

// plain is a script that consists of plain commands (sh(1posix), "Simple Commands").
type plain struct {
	commands []command
	stop     bool // stop at the first command that fails: -e in the first line
}

// command is a program, or one of the builtins, with its arguments.
type command struct {
	line       int
	join       string   // operator between the previous command and this one: "&&", "||" or ""
	env        []string // NAME=VALUE, for this command only
	args       []string // if empty, env is set for all following commands
	redirects  []redirect
	background bool // "&"
}

// redirect is FD>FILE, FD>>FILE, FD<FILE, or FD>&FD.
type redirect struct {
	fd     int
	op     string // ">", ">>", "<", ">&"
	target string
}

// errNeedsShell is returned for a script that is more than plain commands.
type errNeedsShell struct {
	line int
	what string
}

func (e errNeedsShell) Error() string {
	return fmt.Sprintf("line %d: %s needs a shell", e.line, e.what)
}

// needShell are the words that start something else than a plain command.
var needShell = []string{"if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "select",
	"time", "{", "}", "!", ".", "source", "eval", "trap", "wait", "read", "local", "return", "shift", "unset", "umask", "ulimit", "cd", "command",
	"alias", "break", "continue", "getopts", "jobs", "bg", "fg", "readonly", "times", "type"}

// readPlain reads the script at path and returns the interpreter that it names.
func readPlain(path string) (p plain, interpreter string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return plain{}, "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, plainLimit+1))
	if err != nil {
		return plain{}, "", err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	words := strings.Fields(strings.TrimPrefix(first, "#!"))
	switch {
	case !strings.HasPrefix(first, "#!") || len(words) == 0:
		return plain{}, "", fs.ErrInvalid
	case len(text) > plainLimit:
		return plain{}, words[0], fmt.Errorf("it is longer than %d KiB", plainLimit>>10)
	case !slices.Contains(shells, filepath.Base(words[0])):
		return plain{}, words[0], errors.New("it is no shell")
	}
	p, err = parsePlain(string(text))
	for _, flags := range words[1:] {
		p.stop = p.stop || strings.HasPrefix(flags, "-") && strings.Contains(flags, "e")
	}
	return p, words[0], err
}

// parsePlain parses a script. It returns errNeedsShell for expansions, patterns, pipes
// and compound commands.
func parsePlain(text string) (plain, error) {
	p := parser{scanner: scanner{text: text, line: 1}, current: command{line: 1}}
	for {
		t, err := p.next()
		if err == nil && t.kind == isEnd {
			err = p.end("")
			return p.plain, err
		}
		if err == nil {
			err = p.take(t)
		}
		if err != nil {
			return plain{}, err
		}
	}
}

// parser collects the commands of a script.
type parser struct {
	scanner
	plain   plain
	current command
}

// take continues the current command, or ends it.
func (p *parser) take(t token) error {
	c := &p.current
	switch {
	case t.kind == isWord:
		return c.add(t, p.line)
	case t.kind == isRedirect:
		r, err := p.redirect(t)
		c.redirects = append(c.redirects, r)
		return err
	case t.text == "&":
		c.background = true
		return p.end("")
	case t.text == "\n" && len(c.args) == 0 && c.join != "":
		return nil // A list may continue on the next line.
	case t.text == "\n" || t.text == ";":
		return p.end("")
	}
	return p.end(t.text)
}

// end ends the current command. join is the operator between it and the next.
func (p *parser) end(join string) error {
	c := p.current
	empty := len(c.args)+len(c.env)+len(c.redirects) == 0
	if empty && (join != "" || c.join != "" || c.background) {
		return errNeedsShell{p.line, "a list without a command"}
	}
	if c.background && c.join != "" {
		return errNeedsShell{p.line, "a list in the background"}
	}
	if !empty {
		p.plain.commands = append(p.plain.commands, c)
	}
	p.current = command{line: p.line, join: join}
	return nil
}

// add adds a word to a command.
func (c *command) add(t token, line int) error {
	if len(c.args) > 0 {
		c.args = append(c.args, t.text)
		return nil
	}
	c.line = line
	switch name, _, assigns := strings.Cut(t.text, "="); {
	case assigns && !t.quoted && isName(name):
		c.env = append(c.env, t.text)
		return nil
	case !t.quoted && slices.Contains(needShell, t.text):
		return errNeedsShell{line, t.text}
	}
	c.args = append(c.args, t.text)
	return nil
}

// isName reports whether s is the name of a variable.
func isName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
