package main

import (
	"bytes"
	"fmt"
	"strings"

	"keelson/testvm/image/cache"
	"keelson/testvm/initimage"
)

type initImageCmd struct {
	Trees  []string `arg:"" name:"tree" help:"Folder with the root, for each architecture." placeholder:"ARCH=DIR"`
	Output string   `short:"o" required:"" type:"path" help:"File to write." placeholder:"FILE"`
	Name   string   `required:"" help:"Full reference of the image." placeholder:"REGISTRY/REPOSITORY:TAG"`
	Gate   bool     `help:"The trees are those of the gate: pack the image for its service."`
}

// Run writes the image for LinuxKit's init section, or that of the gate, and prints its size and name.
func (c *initImageCmd) Run() error {
	trees := map[string]string{}
	for _, t := range c.Trees {
		arch, dir, ok := strings.Cut(t, "=")
		if !ok || arch == "" || dir == "" || trees[arch] != "" {
			return fmt.Errorf("cannot use tree %q: want ARCH=DIR, each architecture once", t)
		}
		trees[arch] = dir
	}
	kind := initimage.Init
	if c.Gate {
		kind = initimage.Gate
	}
	var buf bytes.Buffer
	if err := initimage.Write(&buf, initimage.Options{Name: c.Name, Trees: trees, Kind: kind}); err != nil {
		return err
	}
	if err := cache.WriteFile(c.Output, buf.Bytes()); err != nil {
		return err
	}
	fmt.Printf("%10d  %s (%s)\n", buf.Len(), c.Output, c.Name)
	return nil
}
