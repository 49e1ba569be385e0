package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"keelson/testvm/image"
	"keelson/testvm/image/cache"
	"keelson/testvm/image/tree"
	"keelson/testvm/initimage"
)

type initImageCmd struct {
	Trees    []string `arg:"" name:"tree" help:"Folder with the root, for each architecture." placeholder:"ARCH=DIR"`
	Output   string   `short:"o" required:"" type:"path" help:"File to write." placeholder:"FILE"`
	Name     string   `required:"" help:"Full reference of the image." placeholder:"REGISTRY/REPOSITORY:TAG"`
	Gate     bool     `xor:"kind" help:"The trees are those of the gate: pack the image for its service."`
	Disk     bool     `xor:"kind" help:"The trees are those of disk: pack the image for onboot containers, with the packages of Debian that they need."`
	Packages string   `help:"With --disk: Debian packages in the image; by default cryptsetup-bin,e2fsprogs,fdisk,util-linux." placeholder:"PACKAGE,…"`
	Cache    string   `type:"path" help:"Cache folder for packages; keelson in the user's own by default."`
}

// Run writes the image for LinuxKit's init section, that of the gate or that of disk, and prints its size and name.
func (c *initImageCmd) Run(ctx context.Context) error {
	trees := map[string]string{}
	for _, t := range c.Trees {
		arch, dir, ok := strings.Cut(t, "=")
		if !ok || arch == "" || dir == "" || trees[arch] != "" {
			return fmt.Errorf("cannot use tree %q: want ARCH=DIR, each architecture once", t)
		}
		trees[arch] = dir
	}
	kind := initimage.Init
	switch {
	case c.Gate:
		kind = initimage.Gate
	case c.Disk:
		kind = initimage.Disk
	}
	p, done := newProgress()
	debian := func(arch, packages string) (*tree.Tree, error) {
		return image.Packages(ctx, image.Options{Arch: arch, CacheDir: c.Cache, Progress: p}, packages)
	}
	if c.Packages != "" && !c.Disk {
		return errors.New("--packages needs --disk: other images have none")
	}
	var buf bytes.Buffer
	err := initimage.Write(&buf, initimage.Options{Name: c.Name, Trees: trees, Kind: kind, Packages: c.Packages, Debian: debian})
	done()
	if err != nil {
		return orInterrupted(ctx, err)
	}
	if err := cache.WriteFile(c.Output, buf.Bytes()); err != nil {
		return err
	}
	fmt.Printf("%10d  %s (%s)\n", buf.Len(), c.Output, c.Name)
	return nil
}
