package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"keelson/services/control"
)

// kill is the verb that signals a service.
func (a *App) kill() Verb {
	var signal string
	return Verb{
		Use: "kill NAME", Group: Steer, Short: "send a signal to the first process of a service", Min: 1, Max: 1, Names: ServiceNames,
		Long:    "A service that ends because of that is started again, as after any other end, if it is to run.",
		Example: "kill -s HUP web  # many programs read their settings again\nkill redis       # SIGTERM",
		Codes:   []int{control.CodeNotFound},
		Flags: func(f *pflag.FlagSet) {
			f.StringVarP(&signal, "signal", "s", "TERM", "the `SIGNAL`: a name or number")
		},
		Run: func(ctx context.Context, names []string) (int, error) {
			return a.act(ctx, control.Request{Verb: control.Kill, Names: names, Signal: signal})
		},
	}
}

// exec is the verb that runs a program in a service.
func (a *App) exec() Verb {
	var e control.Exec
	return Verb{
		Use: "exec NAME PROGRAM…", Group: Steer, Short: "run a program in the container of a service", Min: 2, Max: -1, Names: ServiceNames, Rest: true,
		Long: "The program has what the service has, unless an option says otherwise. It is killed when this\n" +
			"command ends before it. The exit status is that of the program: 128+N after signal N, 127 if\nthere is none, 126 if it cannot be run.",
		Example: "exec redis redis-cli ping   # its output and exit status\n" +
			"exec -i redis redis-cli <commands.txt  # with input\n" +
			"exec -it web sh             # with a terminal\nexec -u nobody -w /tmp web id  # as another user, elsewhere",
		Codes: []int{control.CodeNotFound},
		Flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&e.Stdin, "interactive", "i", false, "give it the input of this command")
			f.BoolVarP(&e.Terminal, "tty", "t", false, "give it a terminal, of the size of this one")
			f.StringVarP(&e.User, "user", "u", "", "run it as `USER`: a name or number in the container, and :GROUP")
			f.StringArrayVarP(&e.Env, "env", "e", nil, "add `NAME=VALUE` to its environment")
			f.StringVarP(&e.Dir, "workdir", "w", "", "run it in `DIR`")
		},
		Run: func(ctx context.Context, args []string) (int, error) {
			e.Args = args[1:]
			return a.runIn(ctx, args[0], e)
		},
	}
}

// shell is the verb that runs a shell in a service.
func (a *App) shell() Verb {
	var user string
	return Verb{
		Use: "shell NAME", Group: Steer, Short: "run a shell in the container of a service", Min: 1, Max: 1, Names: ServiceNames,
		Long:    "The same as exec -it NAME sh; without a terminal, exec -i NAME sh.",
		Example: "shell web  # until exit or Ctrl-D",
		Codes:   []int{control.CodeNotFound},
		Flags: func(f *pflag.FlagSet) {
			f.StringVarP(&user, "user", "u", "", "run it as `USER`: a name or number in the container, and :GROUP")
		},
		Run: func(ctx context.Context, args []string) (int, error) {
			_, terminal := a.inputTerminal()
			return a.runIn(ctx, args[0], control.Exec{Args: []string{"sh"}, Stdin: true, Terminal: terminal, User: user})
		},
	}
}

// inputTerminal returns the descriptor of the input if it is a terminal.
func (a *App) inputTerminal() (fd int, ok bool) {
	f, ok := a.In.(*os.File)
	if !ok {
		return 0, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// runIn runs a program in a service.
func (a *App) runIn(ctx context.Context, name string, e control.Exec) (int, error) {
	streams := control.ExecStreams{In: a.In, Out: a.Out, Err: a.Err}
	if e.Terminal {
		fd, ok := a.inputTerminal()
		if !ok {
			return control.CodeUsage, errors.New("exec: -t needs a terminal as input")
		}
		e.Size = sizeOf(fd)
		if text := os.Getenv("TERM"); text != "" {
			e.Env = append([]string{"TERM=" + text}, e.Env...)
		}
		old, err := term.MakeRaw(fd)
		if err != nil {
			return control.CodeFailed, fmt.Errorf("exec: cannot use the terminal: %w", err)
		}
		defer func() { _ = term.Restore(fd, old) }()
		changes := make(chan os.Signal, 1)
		signal.Notify(changes, unix.SIGWINCH)
		defer signal.Stop(changes)
		ended := make(chan struct{})
		defer close(ended)
		streams.Resize = sizes(fd, changes, ended)
	}
	result, err := a.Client.Exec(ctx, name, e, streams)
	if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
		return max(refused.Code, control.CodeFailed), fmt.Errorf("exec: %w", err)
	}
	if err != nil {
		return control.CodeFailed, a.explain(err)
	}
	if result.Error != "" {
		err = fmt.Errorf("exec: %s", result.Error)
	}
	return result.Code, err
}

// sizes returns a channel with the sizes that a terminal takes.
func sizes(fd int, changes <-chan os.Signal, ended <-chan struct{}) <-chan control.TerminalSize {
	all := make(chan control.TerminalSize)
	go func() {
		for {
			select {
			case <-changes:
			case <-ended:
				return
			}
			select {
			case all <- sizeOf(fd):
			case <-ended:
				return
			}
		}
	}()
	return all
}

func sizeOf(fd int) (size control.TerminalSize) {
	if width, height, err := term.GetSize(fd); err == nil {
		size.Width, size.Height = uint16(width), uint16(height)
	}
	return size
}
