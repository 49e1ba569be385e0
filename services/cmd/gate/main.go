// Command gate offers the control API of a machine outside it (package gate).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"keelson/runtime/version"
	"keelson/services/control"
	"keelson/services/gate"
)

const usage = `usage: gate [--listen ADDRESS]… [--keys DIR] [--socket PATH]

Offers the control API of the machine to clients with a certificate.

  --listen ADDRESS  tcp://[HOST]:PORT, vsock://:PORT, or serial:NAME for a virtio-serial port; may be repeated.
                    Default: tcp://:7443
  --keys DIR        folder with ca.crt, server.crt, server.key and, if there is one, revoked.crl.
                    Default: /etc/keelson/gate
  --socket PATH     socket of the supervisor for the gate. Default: ` + control.GateSocketPath + `
  --version         print the version
`

// options of the command line.
type options struct {
	addresses    []string
	keys, socket string
	version      bool
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("gate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("listen", "", func(s string) error {
		o.addresses = append(o.addresses, s)
		return nil
	})
	flags.StringVar(&o.keys, "keys", "/etc/keelson/gate", "")
	flags.StringVar(&o.socket, "socket", control.GateSocketPath, "")
	flags.BoolVar(&o.version, "version", false, "")
	if err = flags.Parse(args); err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if len(o.addresses) == 0 {
		o.addresses = []string{"tcp://:7443"}
	}
	return o, err
}

func main() {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
	case err != nil:
		fmt.Fprintf(os.Stderr, "gate: %v\n%s", err, usage)
		os.Exit(control.CodeUsage)
	case o.version:
		fmt.Println(version.Line("gate"))
	default:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		err := run(ctx, o, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, "gate:", err)
			os.Exit(control.CodeFailed)
		}
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o options, logger *slog.Logger) error {
	credentials, err := gate.LoadCredentials(o.keys, logger)
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for _, address := range o.addresses {
		l, err := gate.Listen(address)
		if err != nil {
			return err
		}
		defer l.Close()
		listeners = append(listeners, l)
	}
	logger.Info("listening", "addresses", strings.Join(o.addresses, " "))
	return (&gate.Gate{Credentials: credentials, Socket: o.socket, Logger: logger}).Serve(ctx, listeners...)
}
