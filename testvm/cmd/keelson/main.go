// Command keelson builds images from LinuxKit YAML files, boots them in QEMU
// and measures their boot.
//
// Its exit status is 0 when all was done, 1 when something failed (check: when a
// problem was found), and 80 when the command line is wrong.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"keelson/runtime/version"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
)

type cli struct {
	Build     buildCmd     `cmd:"" help:"Assemble an image from a LinuxKit YAML file."`
	Check     checkCmd     `cmd:"" help:"Check LinuxKit YAML files, and build nothing."`
	Bundle    bundleCmd    `cmd:"" help:"Write the OCI bundle of one container of LinuxKit YAML files, as an image has it."`
	Formats   formatsCmd   `cmd:"" help:"List the formats that images are built in, what they are for and what they need."`
	Run       runCmd       `cmd:"" help:"Boot an image in QEMU."`
	Bench     benchCmd     `cmd:"" help:"Measure the boot of an image in virtual time."`
	Compare   compareCmd   `cmd:"" help:"Boot two images of the benchmark in turn on two processors, by the clock on the wall."`
	InitImage initImageCmd `cmd:"" help:"Pack guest trees as the image for the init section of LinuxKit."`
	Version   versionCmd   `cmd:"" help:"Show which build of keelson this is."`
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
		kong.Vars{"formats": strings.Join(format.Names(), ", "), "machines": strings.Join(qemu.Machines(), ", "), "buses": strings.Join(qemu.Buses, ", ")},
		kong.Description("Build, boot and measure images whose init is keelson.\n\n"+
			"Exit status: 0 when all was done, 1 when something failed or check found a problem, 80 when the command line is wrong."))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := newParser(&c)
	k, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run())
}
