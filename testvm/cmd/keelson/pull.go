package main

import (
	"context"

	"keelson/testvm/image"
)

type pullCmd struct {
	Ref  string   `arg:"" help:"Image or bundle artifact in a registry, as in registry.example.org/web:v2."`
	Out  string   `short:"o" required:"" type:"path" help:"Folder for the OCI layout; it must be empty or not exist. A name that ends in .tar, .tar.gz or .tar.zst is an archive, - standard output." placeholder:"OUT"`
	Arch []string `help:"Architecture, amd64, arm64, riscv64 or s390x, or several, or all for the whole index; the host's by default." placeholder:"ARCH"`
}

// Run writes what was pulled.
func (c *pullCmd) Run(ctx context.Context) error {
	to, err := targetOf(c.Out)
	if err != nil {
		return err
	}
	p, done := newProgress()
	made, err := image.Pull(ctx, c.Ref, c.Arch, to, p)
	done()
	if err != nil {
		return orInterrupted(ctx, err)
	}
	return printManifests(c.Out, made)
}
