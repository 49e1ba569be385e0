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
			return a.runIn("exec", e, func(e control.Exec, s control.ExecStreams) (control.ExecResult, error) {
				return a.Client.Exec(ctx, args[0], e, s)
			})
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
			e := control.Exec{Args: []string{"sh"}, Stdin: true, Terminal: terminal, User: user}
			return a.runIn("exec", e, func(e control.Exec, s control.ExecStreams) (control.ExecResult, error) {
				return a.Client.Exec(ctx, args[0], e, s)
			})
		},
	}
}

// debug is the verb that runs tools of another bundle beside a service.
func (a *App) debug() Verb {
	d := control.Debug{Exec: control.Exec{Stdin: true}}
	return Verb{
		Use: "debug NAME [PROGRAM…]", Group: Steer, Short: "run tools of another bundle beside a service, such as a shell", Min: 1, Max: -1, Names: ServiceNames, Rest: true,
		Long: "For images without a shell. The tools see the processes, network, users and other namespaces of the\n" +
			"service, with all capabilities. / has the files of their bundle, in memory; /service has those of the\n" +
			"service. They have a cgroup of their own, and are killed when this command or the service ends.\n" +
			"Without PROGRAM the rescue shell is run, or sh. With input and output on a terminal, tools have one.\n" +
			"The exit status is that of the program: 128+N after signal N, 127 if there is none, 126 if it cannot be run.",
		Example: "debug web                   # the image's rescue shell (keelson.role: rescue)\n" +
			"debug web ls -l /service/   # one program\n" +
			"debug --with tools web strace -p 1  # the files of another service of the image",
		Codes: []int{control.CodeNotFound},
		Flags: func(f *pflag.FlagSet) {
			f.StringVar(&d.With, "with", "", "take the files of `BUNDLE`: a service, also one that does not run, or a bundle with a rescue shell")
			f.StringArrayVarP(&d.Env, "env", "e", nil, "add `NAME=VALUE` to the environment")
		},
		Run: func(ctx context.Context, args []string) (int, error) {
			d.Args = args[1:]
			_, terminal := a.inputTerminal()
			d.Terminal = terminal && a.terminal()
			return a.runIn("debug", d.Exec, func(e control.Exec, s control.ExecStreams) (control.ExecResult, error) {
				return a.Client.Debug(ctx, args[0], control.Debug{Exec: e, With: d.With}, s)
			})
		},
	}
}

// rescue is the verb that runs the rescue shell on the machine.
func (a *App) rescue() Verb {
	e := control.Exec{Stdin: true}
	return Verb{
		Use: "rescue [PROGRAM…]", Group: Steer, Short: "run the rescue shell, or another program of its bundle, on the machine", Max: -1, Rest: true,
		Long: "For a look at the machine itself: with its processes, network, devices and all capabilities. / has the\n" +
			"files of the bundle with keelson.role: rescue, in memory; /machine has those of the machine, without the\n" +
			"mounts that are made here. The programs are killed when this command ends.\n" +
			"The exit status is that of the program: 128+N after signal N, 127 if there is none, 126 if it cannot be run.",
		Example: "rescue                              # until exit or Ctrl-D\n" +
			"rescue ls -l /machine/var/lib       # one program\n" +
			"rescue nsenter -t 1 -m umount /mnt  # in the mounts of the machine",
		Flags: func(f *pflag.FlagSet) {
			f.StringArrayVarP(&e.Env, "env", "e", nil, "add `NAME=VALUE` to the environment")
		},
		Run: func(ctx context.Context, args []string) (int, error) {
			e.Args = args
			_, terminal := a.inputTerminal()
			e.Terminal = terminal && a.terminal()
			return a.runIn("rescue", e, func(e control.Exec, s control.ExecStreams) (control.ExecResult, error) {
				return a.Client.Rescue(ctx, e, s)
			})
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

// runIn runs a program, by a function that asks for it. verb is for messages.
func (a *App) runIn(verb string, e control.Exec, ask func(control.Exec, control.ExecStreams) (control.ExecResult, error)) (int, error) {
	streams := control.ExecStreams{In: a.In, Out: a.Out, Err: a.Err}
	if e.Terminal {
		fd, ok := a.inputTerminal()
		if !ok {
			return control.CodeUsage, errors.New(verb + ": -t needs a terminal as input")
		}
		e.Size = sizeOf(fd)
		if text := os.Getenv("TERM"); text != "" {
			e.Env = append([]string{"TERM=" + text}, e.Env...)
		}
		old, err := term.MakeRaw(fd)
		if err != nil {
			return control.CodeFailed, fmt.Errorf("%s: cannot use the terminal: %w", verb, err)
		}
		defer func() { _ = term.Restore(fd, old) }()
		changes := make(chan os.Signal, 1)
		signal.Notify(changes, unix.SIGWINCH)
		defer signal.Stop(changes)
		ended := make(chan struct{})
		defer close(ended)
		streams.Resize = sizes(fd, changes, ended)
	}
	result, err := ask(e, streams)
	if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
		return max(refused.Code, control.CodeFailed), fmt.Errorf("%s: %w", verb, err)
	}
	if err != nil {
		return control.CodeFailed, a.explain(err)
	}
	if result.Error != "" {
		err = fmt.Errorf("%s: %s", verb, result.Error)
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
