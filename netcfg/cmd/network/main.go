// Command network configures the network of a machine by a file (package daemon).
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
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"keelson/netcfg"
	"keelson/netcfg/config"
	network "keelson/netcfg/daemon"
	"keelson/netcfg/kernel"
	"keelson/netcfg/lease"
	state "keelson/runtime/network"
	"keelson/runtime/version"
)

const usage = `usage: network [--config FILE] [--check]

Configures the network as a file says, which has the vocabulary of netplan, and keeps it so.
SIGHUP makes it read the file again.

  --config FILE  default: ` + config.Path + `
  --check        print the mistakes of the file, and change nothing
  --version      print the version
`

// Exit statuses.
const (
	codeFailed = 1
	codeUsage  = 2
)

// Where the container has settings of the kernel that can be written.
const (
	sysctl   = "/run/sysctl"
	hostname = sysctl + "/kernel/hostname"
	hosts    = "/run/resolvconf/hosts"
)

func main() {
	flags := flag.NewFlagSet("network", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", config.Path, "")
	check := flags.Bool("check", false, "")
	printVersion := flags.Bool("version", false, "")
	err := flags.Parse(os.Args[1:])
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "network: %v\n%s", err, usage)
		os.Exit(codeUsage)
	case *printVersion:
		fmt.Println(version.Line("network"))
		return
	case *check:
		err = checkFile(*file)
	default:
		err = run(*file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "network:", err)
		os.Exit(codeFailed)
	}
}

func checkFile(file string) error {
	text, err := os.ReadFile(file)
	if err == nil {
		_, err = config.Parse(text, file)
	}
	return err
}

// run configures the network until it is told to end.
func run(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	reload := make(chan struct{}, 1)
	go func() {
		for range hup {
			select {
			case reload <- struct{}{}:
			default:
			}
		}
	}()
	line, _ := os.ReadFile("/proc/cmdline") // Without them, nothing is asked for.
	pnp, _ := os.ReadFile("/proc/net/pnp")
	d := &network.Daemon{
		File: file, Dir: state.Dir, Leases: lease.Dir, Request: lease.RequestFile, Resolv: netcfg.ResolvConf, Hosts: hosts,
		Static: ownName(), Extra: network.CommandLine(string(line), string(pnp)), Log: logger,
		Report: func(text string) { notify(logger, "X_KEELSON_EVENT="+text) },
		Ready:  func() { notify(logger, daemon.SdNotifyReady) },
	}
	if _, err := os.Stat(sysctl + "/net"); err == nil {
		d.Kernel = kernel.Kernel{Sysctl: sysctl}
	}
	if _, err := os.Stat(hostname); err == nil {
		d.Hostname = hostname
	}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, state.Socket) }()
	logger.Info("configuring the network", "file", file)
	err := d.Run(ctx, reload)
	stop()
	return errors.Join(err, <-served)
}

// ownName reports whether the image gives the machine a name.
func ownName() bool {
	text, err := os.ReadFile("/etc/hostname")
	return err == nil && strings.TrimSpace(string(text)) != ""
}

// notify sends a message of sd_notify(3).
func notify(logger *slog.Logger, message string) {
	if _, err := daemon.SdNotify(false, strings.ReplaceAll(message, "\n", " ")); err != nil {
		logger.Warn("cannot notify the supervisor", "error", err)
	}
}
