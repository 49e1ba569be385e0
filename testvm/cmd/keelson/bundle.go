package main

import (
	"context"
	"fmt"
	"os"

	"keelson/testvm/image"
)

type bundleCmd struct {
	File    []string `arg:"" type:"existingfile" help:"LinuxKit YAML files, merged in their order; - for standard input."`
	Service string   `required:"" help:"The container: its name, or its folder in an image, such as onboot/000-sysctl." placeholder:"NAME"`
	Out     string   `short:"o" required:"" type:"path" help:"Folder for the bundle; it must be empty or not exist." placeholder:"DIR"`
	Arch    string   `enum:"amd64,arm64,riscv64,s390x," default:"" help:"Architecture, amd64, arm64, riscv64 or s390x; the host's by default."`
	Cache   string   `type:"path" help:"Cache folder; keelson in the user's own by default."`
	Refresh bool     `help:"Fetch newer versions of packages and images in the cache."`
}

// Run writes the bundle.
func (c *bundleCmd) Run(ctx context.Context) error {
	files, err := readFiles(c.File, os.Stdin)
	if err != nil {
		return err
	}
	o := optionsOf(files)
	o.Arch, o.CacheDir, o.Refresh = c.Arch, c.Cache, c.Refresh
	var done func()
	o.Progress, done = newProgress()
	err = image.WriteBundle(ctx, o, c.Service, c.Out)
	done()
	if err != nil {
		return orInterrupted(ctx, err)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintf(os.Stderr, "keelson: all files in %s belong to user %d, and device nodes are missing: run as root for a complete bundle\n", c.Out, os.Geteuid())
	}
	fmt.Println(c.Out)
	return nil
}
