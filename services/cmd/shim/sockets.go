package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"keelson/services/sockets/offer"
)

// offers is where the supervisor offers sockets. Tests change it.
var offers = offer.Dir

// addSockets makes "runc create" pass the sockets that are offered to a container on as the
// descriptors from 3. dir is the folder of the container's state. A container that is not
// given its sockets must not start, so that an error is returned.
func addSockets(c *exec.Cmd, dir string) error {
	id := filepath.Base(dir)
	fds, err := offer.Fetch(offers, filepath.Base(filepath.Dir(dir)), id)
	if err != nil || len(fds) == 0 {
		return err
	}
	for _, fd := range fds {
		c.ExtraFiles = append(c.ExtraFiles, os.NewFile(uintptr(fd), "socket of "+id))
	}
	c.Args = slices.Insert(c.Args, len(c.Args)-1, "--preserve-fds", strconv.Itoa(len(fds)))
	return nil
}

// closeFiles closes what a command has inherited.
func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
