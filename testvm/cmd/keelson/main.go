// Command keelson builds images from LinuxKit YAML files, boots them in QEMU
// and measures their boot.
//
// The exit status is 0 on success, 1 on failure (for check: if there are problems), and
// 80 if the command line is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"keelson/runtime/version"
	"keelson/services/control"
	"keelson/testvm/bench"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
)

type cli struct {
	Build     buildCmd     `cmd:"" help:"Assemble an image from a LinuxKit YAML file."`
	Check     checkCmd     `cmd:"" help:"Check LinuxKit YAML files without building an image."`
	Bundle    bundleCmd    `cmd:"" help:"Write the OCI bundle of one container of a LinuxKit YAML file, or a service as a bundle artifact."`
	Programs  programsCmd  `cmd:"" help:"Write keelson's own programs as an artifact that replaces them on a running machine."`
	Sign      signCmd      `cmd:"" help:"Sign a bundle artifact with a key of minisign."`
	Verify    verifyCmd    `cmd:"" help:"Verify the digests and the signature of a bundle artifact."`
	Pull      pullCmd      `cmd:"" help:"Fetch an image or a bundle artifact from a registry as an OCI layout."`
	Formats   formatsCmd   `cmd:"" help:"List the formats of images, their purpose and requirements."`
	Run       runCmd       `cmd:"" help:"Boot an image in QEMU."`
	Ctl       ctlCmd       `cmd:"" help:"Control a machine from outside, through its gate."`
	Bench     benchCmd     `cmd:"" help:"Measure the boot of an image in virtual time."`
	Compare   compareCmd   `cmd:"" help:"Compare the boot of two images by wall-clock time on two processors."`
	InitImage initImageCmd `cmd:"" help:"Pack guest trees as the image for LinuxKit's init section."`
	Version   versionCmd   `cmd:"" help:"Show the version."`
	ManPages  manPagesCmd  `cmd:"" hidden:"" help:"Write the manual pages."`
}

type versionCmd struct{}

// Run shows the version.
func (versionCmd) Run() error {
	_, err := fmt.Println(version.Line("keelson"))
	return err
}

// newParser reads command lines into c.
func newParser(c *cli) *kong.Kong {
	return kong.Must(c, kong.Name("keelson"), kong.UsageOnError(),
		kong.Vars{"formats": strings.Join(format.Names(), ", "), "machines": strings.Join(qemu.Machines(), ", "), "buses": strings.Join(qemu.Buses, ", "), "roles": strings.Join(control.Roles(), ","), "processors": strings.Join(bench.Processors, ",")},
		kong.Description("Build, boot and measure images whose init is keelson.\n\n"+
			"Exit status: 0 on success, 1 on failure or if check finds problems, 80 if the command line is wrong."))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := newParser(&c)
	k, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run()
	if status := exitStatus(0); errors.As(err, &status) { // Its message is printed.
		os.Exit(int(status))
	}
	k.FatalIfErrorf(err)
}
