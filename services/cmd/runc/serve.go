//go:build runcmain

// Package main is a part of runc's: .ci/runc-source adds the files of this folder to the main package of a copy of
// runc's source, and `make guest` builds runc from the copy, with the tag runcmain. The files may use all that is in
// upstream's package, and packages of keelson and of go.mod. Without the tag they are part of no package: `make
// lint` vets them in a copy.
package main

import (
	"errors"
	"fmt"
	"io"
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
//
// Upstream's main reads all command lines. It finds other actions in its command: first the one that serves, then,
// for each container, one that does not end the process as upstream's does.
func init() {
	if len(os.Args) == 2 && os.Args[1] == requests.Command {
		os.Args[1] = runCommand.Name
		errWriter := cli.ErrWriter // Before main wraps it, each time.
		runCommand.Action = func(*cli.Context) error { return serve(requests.Socket, errWriter) }
	}
}

// serve answers requests until the connection ends, or it has run as many containers as a process should.
func serve(socket int, errWriter io.Writer) error {
	unix.CloseOnExec(socket)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	status := -1
	runCommand.Action = func(context *cli.Context) (err error) {
		if err := checkArgs(context, 1, exactArgs); err != nil {
			return err
		}
		if status, err = startContainer(context, CT_ACT_RUN, nil); err != nil {
			return fmt.Errorf("runc run failed: %w", err)
		}
		return nil
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
		os.Args, status, cli.ErrWriter = append(os.Args[:1:1], request.Args...), -1, errWriter
		// When the container cannot be run, main ends this process, as it ends runc: what a failure leaves is to
		// concern no other container.
		main()
		if status < 0 {
			return errors.New("asked for something else than to run a container")
		}
		if err := forget(null); err != nil {
			return err
		}
		if err := requests.SendReply(socket, requests.Reply{Done: true, Status: status}); err != nil {
			return err
		}
	}
	return nil
}

// forget closes what a container has left open: nobody waits for the end of an output because of this process, and file
// systems can be unmounted.
func forget(null *os.File) error {
	if log, ok := logrus.StandardLogger().Out.(*os.File); ok && log != os.Stderr {
		_ = log.Close()
	}
	logrus.SetOutput(os.Stderr)
	for stream := range 3 {
		if err := unix.Dup3(int(null.Fd()), stream, 0); err != nil {
			return err
		}
	}
	return os.Chdir("/")
}
