//go:build runcmain

package main

import (
	"fmt"
	"os"
	"os/signal"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"
	"golang.org/x/sys/unix"

	"keelson/runtime/fdpass"
	requests "keelson/runtime/runner" // Upstream has a type runner.
)

// With the argument requests.Command, runc runs the containers that the process at the other end of descriptor 3 asks
// for, one after another, as that many calls of `runc run` do. It ends with the connection.
func init() {
	if len(os.Args) != 2 || os.Args[1] != requests.Command {
		return
	}
	// Go locks the goroutine of initialisers to a thread, which makes it slow.
	go func() {
		if err := serve(requests.Socket); err != nil {
			fmt.Fprintln(os.Stderr, "runc "+requests.Command+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}()
	select {}
}

// serve answers requests until the connection ends, it has run as many containers as a process should, or one cannot
// be run: what a failure leaves in a process is to concern no other container.
func serve(socket int) error {
	unix.CloseOnExec(socket)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for range requests.Limit {
		request, files, err := requests.ReceiveRequest(socket)
		if err == requests.ErrClosed {
			return nil
		}
		if err != nil {
			return err
		}
		// Until it is forwarded to the container, it ends this process, as it ends runc. Upstream's handler of
		// the container before, which there ends with the process, would swallow it.
		signal.Reset(request.Stop)
		if err := requests.SendReply(socket, requests.Reply{}); err != nil {
			return err
		}
		for stream, fd := range files {
			if err := unix.Dup3(fd, stream, 0); err != nil {
				return err
			}
		}
		fdpass.Close(files)
		status, ok := runOne(request.Args)
		for stream := range files { // Nobody waits for the end of an output because of this process.
			if err := unix.Dup3(int(null.Fd()), stream, 0); err != nil {
				return err
			}
		}
		if err := requests.SendReply(socket, requests.Reply{Done: true, Status: status}); err != nil || !ok {
			return err
		}
	}
	return nil
}

// runOne does what `runc ARGS` does, if ARGS are those of `runc run`, and returns the exit status. It reports false if
// the container could not be run.
func runOne(args []string) (status int, ok bool) {
	defer func() {
		if log, ok := logrus.StandardLogger().Out.(*os.File); ok && log != os.Stderr {
			_ = log.Close()
		}
		logrus.SetOutput(os.Stderr)
		_ = os.Chdir("/") // Not in the bundle, so that file systems can be unmounted.
	}()
	if err := runApp(&status).Run(append([]string{"runc"}, args...)); err != nil {
		logrus.Error(err)
		if !logrusToStderr() {
			fmt.Fprintln(os.Stderr, err)
		}
		return 1, false
	}
	return status, true
}

// runApp returns a command line with `runc run` alone, which sets status where upstream's ends the process.
func runApp(status *int) *cli.App {
	run := runCommand
	run.Action = func(context *cli.Context) error {
		if err := checkArgs(context, 1, exactArgs); err != nil {
			return err
		}
		code, err := startContainer(context, CT_ACT_RUN, nil)
		if err != nil {
			return fmt.Errorf("runc run failed: %w", err)
		}
		*status = code
		return nil
	}
	app := cli.NewApp()
	app.Flags = []cli.Flag{
		cli.BoolFlag{Name: "debug"}, cli.StringFlag{Name: "log"}, cli.StringFlag{Name: "log-format"},
		cli.StringFlag{Name: "root"}, cli.BoolFlag{Name: "systemd-cgroup"}, cli.StringFlag{Name: "rootless", Value: "auto"},
	}
	app.Commands = []cli.Command{run}
	app.Before = func(context *cli.Context) error {
		if err := reviseRootDir(context); err != nil {
			return err
		}
		return configLogrus(context)
	}
	return app
}
