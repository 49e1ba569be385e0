// Command dhcp is a client of DHCP for the links of a machine (package dhcp).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"keelson/netcfg/dhcp"
	"keelson/netcfg/lease"
	"keelson/runtime/version"
)

const usage = `usage: dhcp [--release] [LINK…]

Gets leases of DHCP for links, and keeps them: for those that the network service asks for, or for
those that are named, which have to be up.

  --release       give leases back at the end; else the next client asks for them again
  --leases DIR    folder of files with leases. Default: ` + lease.Dir + `
  --kept DIR      folder of leases that outlive a reboot. Default: ` + lease.KeptDir + `
  --version       print the version
`

// Exit statuses.
const (
	codeFailed = 1
	codeUsage  = 2
)

func main() {
	m := &dhcp.Manager{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("dhcp", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&m.Release, "release", false, "")
	flags.StringVar(&m.Leases, "leases", lease.Dir, "")
	flags.StringVar(&m.Kept, "kept", lease.KeptDir, "")
	printVersion := flags.Bool("version", false, "")
	err := flags.Parse(os.Args[1:])
	if err == nil && flags.NArg() > 0 {
		m.Links, err = dhcp.Standalone(flags.Args())
	} else {
		m.Request = lease.RequestFile
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "dhcp: %v\n%s", err, usage)
		os.Exit(codeUsage)
	case *printVersion:
		fmt.Println(version.Line("dhcp"))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err = m.Run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dhcp:", err)
		os.Exit(codeFailed)
	}
}
