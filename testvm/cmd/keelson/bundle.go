package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"keelson/testvm/image"
	"keelson/testvm/image/signing"
)

type bundleCmd struct {
	File    []string `arg:"" type:"existingfile" help:"LinuxKit YAML files, merged in their order; - for standard input."`
	Service string   `required:"" help:"The container: its name, or its folder in an image, such as onboot/000-sysctl." placeholder:"NAME"`
	Out     string   `short:"o" required:"" type:"path" help:"Folder for the bundle; it must be empty or not exist. A name that ends in .tar, .tar.gz or .tar.zst, or - for standard output, is the archive of a bundle artifact." placeholder:"OUT"`
	Format  string   `enum:"bundle,oci," default:"" help:"bundle (a folder for a container runtime) or oci (the bundle artifact of a service, an OCI layout; a folder unless OUT is an archive). By default bundle for a folder, oci for an archive." placeholder:"FORMAT"`
	Root    string   `enum:"layers,erofs,both," default:"" help:"Root of an artifact: layers (by default; a machine unpacks it), erofs (a file system with a dm-verity hash tree; a machine mounts it), or both (a machine mounts it if its kernel can)." placeholder:"KIND"`
	Arch    []string `help:"Architecture, amd64, arm64, riscv64 or s390x; the host's by default. An artifact may have several." placeholder:"ARCH"`
	Sign    string   `type:"existingfile" help:"Sign the artifact with this secret key of minisign, as keelson sign does." placeholder:"FILE"`
	Cache   string   `type:"path" help:"Cache folder; keelson in the user's own by default."`
	Refresh bool     `help:"Fetch newer versions of packages and images in the cache."`
}

// Run writes the bundle or the artifact.
func (c *bundleCmd) Run(ctx context.Context) error {
	key, err := c.signingKey()
	if err != nil {
		return err
	}
	files, err := readFiles(c.File, os.Stdin)
	if err != nil {
		return err
	}
	o := optionsOf(files)
	o.CacheDir, o.Refresh = c.Cache, c.Refresh
	if o.ModTime, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	var done func()
	o.Progress, done = newProgress()
	var made []image.Manifest
	if c.artifact() {
		made, err = c.writeArtifact(ctx, o)
	} else {
		err = c.writeFolder(ctx, o)
	}
	done()
	if err != nil {
		return orInterrupted(ctx, err)
	}
	if key != nil {
		if _, err := signing.Sign(c.Out, key); err != nil {
			return err
		}
	}
	if c.artifact() {
		return printManifests(c.Out, made)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintf(os.Stderr, "keelson: all files in %s belong to user %d, and device nodes are missing: run as root for a complete bundle\n", c.Out, os.Geteuid())
	}
	fmt.Println(c.Out)
	return nil
}

// artifact reports whether an artifact is asked for.
func (c *bundleCmd) artifact() bool {
	return c.Format == "oci" || c.Format == "" && (c.Out == stdout || image.IsArchive(c.Out))
}

// signingKey reads the key of --sign, so that a wrong password costs no build. It is nil
// without --sign.
func (c *bundleCmd) signingKey() (*signing.Key, error) {
	if c.Sign != "" && !c.artifact() {
		return nil, errors.New("cannot sign a folder for a container runtime: --sign is for artifacts; use --format oci")
	}
	return signingKey(c.Sign, c.Out)
}

func (c *bundleCmd) writeArtifact(ctx context.Context, o image.Options) ([]image.Manifest, error) {
	to, err := targetOf(c.Out)
	if err != nil {
		return nil, err
	}
	return image.WriteArtifact(ctx, o, image.Artifact{Service: c.Service, Archs: c.Arch, Root: c.Root}, to)
}

func (c *bundleCmd) writeFolder(ctx context.Context, o image.Options) error {
	switch {
	case c.Root != "":
		return errors.New("cannot write a folder with --root: it is for artifacts; use --format oci")
	case c.Out == stdout:
		return errors.New("cannot write a folder to standard output: use --format oci")
	case len(c.Arch) > 1:
		return errors.New("cannot write a folder for several architectures: use --format oci")
	case len(c.Arch) == 1:
		o.Arch = c.Arch[0]
	}
	return image.WriteBundle(ctx, o, c.Service, c.Out)
}

// stdout is the name of standard output in place of a file.
const stdout = "-"

func targetOf(out string) (image.Target, error) {
	if out != stdout {
		return image.Target{Name: out}, nil
	}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return image.Target{}, errors.New("cannot write an archive to a terminal: redirect standard output")
	}
	return image.Target{Writer: os.Stdout}, nil
}

// printManifests prints the digest of each manifest, its architecture and the name of the
// output: to standard error if the output is standard output.
func printManifests(out string, made []image.Manifest) error {
	var w io.Writer = os.Stdout
	if out == stdout {
		w = os.Stderr
	}
	for _, m := range made {
		if _, err := fmt.Fprintf(w, "%s  %-7s  %s\n", m.Digest, m.Arch, out); err != nil {
			return err
		}
	}
	return nil
}
