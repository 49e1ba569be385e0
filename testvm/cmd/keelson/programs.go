package main

import (
	"os"

	"keelson/testvm/image"
	"keelson/testvm/image/signing"
)

type programsCmd struct {
	Dir  []string `arg:"" type:"existingdir" help:"Folders with programs in usr/bin and usr/libexec, such as the root of a guest (build/ARCH/root): containerd, the shim, runc, the supervisor, or some of them. One folder for each architecture."`
	Out  string   `short:"o" required:"" type:"path" help:"Archive (.tar, .tar.gz or .tar.zst), folder, or - for standard output." placeholder:"OUT"`
	Sign string   `type:"existingfile" help:"Sign the artifact with this secret key of minisign, as keelson sign does." placeholder:"FILE"`
}

// Run writes the artifact and prints the digests of its manifests.
func (c *programsCmd) Run() error {
	key, err := signingKey(c.Sign, c.Out)
	if err != nil {
		return err
	}
	modTime, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	to, err := targetOf(c.Out)
	if err != nil {
		return err
	}
	made, err := image.WritePrograms(c.Dir, modTime, to)
	if err != nil {
		return err
	}
	if key != nil {
		if _, err := signing.Sign(c.Out, key); err != nil {
			return err
		}
	}
	return printManifests(c.Out, made)
}
