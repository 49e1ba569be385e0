package main

import (
	"os"

	"keelson/testvm/image/format"
)

type formatsCmd struct{}

// Run prints the table of formats.
func (formatsCmd) Run() error { return format.Write(os.Stdout) }
