package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Exit codes of a shell (sh(1posix)).
const (
	codeNotRun   = 126
	codeNotFound = 127
)

// Interpret runs the script at path, which readPlain accepts, without a shell and
// returns its exit code. It runs in its own process ("init script PATH"), so that Run
// can end it like any other script.
func Interpret(path string) int {
	p, _, err := readPlain(path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
		return codeNotRun
	}
	r := runner{path: path, stop: p.stop}
	for i, c := range p.commands {
		if c.join == "&&" && r.code != 0 || c.join == "||" && r.code == 0 {
			continue
		}
		r.command(c)
		joined := i+1 < len(p.commands) && p.commands[i+1].join != ""
		if r.ended || r.code != 0 && r.stop && !joined {
			break
		}
	}
	return r.code
}

// runner is the state of a running script.
type runner struct {
	path  string
	code  int  // exit code of the last command
	stop  bool // stop at the first command that fails (set -e)
	ended bool
}

// command runs a command and stores its exit code.
func (r *runner) command(c command) {
	files, closing, err := c.open()
	defer func() {
		for _, f := range closing {
			_ = f.Close()
		}
	}()
	if err != nil {
		r.fail(c, 1, err)
		return
	}
	if len(c.args) == 0 {
		r.code = assign(c.env)
		return
	}
	switch c.args[0] {
	case ":", "true":
		r.code = 0
	case "echo":
		r.code = echo(files[1], c.args[1:])
	case "export":
		r.code = export(c.args[1:])
	case "set":
		r.set(c)
	case "exit":
		r.exit(c)
	case "exec":
		c.args = c.args[1:]
		r.ended = len(c.args) > 0
		r.code = 0
		if r.ended {
			r.program(c, files)
		}
	default:
		r.program(c, files)
	}
}

// open opens the files of a command's redirections. files are its standard input,
// output and error; the caller closes closing.
func (c command) open() (files [3]*os.File, closing []*os.File, err error) {
	files = [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	for _, to := range c.redirects {
		var f *os.File
		switch to.op {
		case ">&":
			number, _ := strconv.Atoi(to.target) // The parser has checked it.
			files[to.fd] = files[number]
			continue
		case "<":
			f, err = os.Open(to.target)
		case ">":
			f, err = os.Create(to.target)
		case ">>":
			f, err = os.OpenFile(to.target, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
		}
		if err != nil {
			return files, closing, err
		}
		files[to.fd] = f
		closing = append(closing, f)
	}
	return files, closing, nil
}

// program runs a command that is not a builtin.
func (r *runner) program(c command, files [3]*os.File) {
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	err := cmd.Start()
	if err == nil && c.background {
		r.code = 0
		_ = cmd.Process.Release()
		return
	}
	if err == nil {
		err = cmd.Wait()
	}
	exited, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		r.code = 0
	case ok:
		r.code = exitCode(exited.ProcessState)
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		r.fail(c, codeNotFound, err)
	default:
		r.fail(c, codeNotRun, err)
	}
}

func (r *runner) fail(c command, code int, err error) {
	fmt.Fprintf(os.Stderr, "%s: line %d: %v\n", r.path, c.line, err)
	r.code = code
}

// set accepts the options e, u and x; only e has an effect.
func (r *runner) set(c command) {
	r.code = 0
	for _, flags := range c.args[1:] {
		if strings.Trim(flags[min(1, len(flags)):], "eux") != "" || flags == "" || flags[0] != '-' && flags[0] != '+' {
			r.fail(c, 2, fmt.Errorf("set %s needs a shell", flags))
			return
		}
		if strings.Contains(flags, "e") {
			r.stop = flags[0] == '-'
		}
	}
}

func (r *runner) exit(c command) {
	r.ended = true
	if len(c.args) < 2 {
		return // with the code of the previous command
	}
	code, err := strconv.ParseUint(c.args[1], 10, 8)
	if err != nil {
		r.fail(c, 2, fmt.Errorf("exit: %q is not a number from 0 to 255", c.args[1]))
		return
	}
	r.code = int(code)
}

func echo(out *os.File, args []string) int {
	end := "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	if _, err := out.WriteString(strings.Join(args, " ") + end); err != nil {
		return 1
	}
	return 0
}

// assign sets variables that are in the environment already. Other variables have no
// effect, because nothing is expanded.
func assign(entries []string) int {
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry, "=")
		if _, inherited := os.LookupEnv(name); inherited && export([]string{entry}) != 0 {
			return 1
		}
	}
	return 0
}

func export(entries []string) int {
	for _, entry := range entries {
		name, value, given := strings.Cut(entry, "=")
		if given && os.Setenv(name, value) != nil {
			return 1
		}
	}
	return 0
}
