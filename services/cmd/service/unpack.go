package main

import (
	"context"
	"io"
	"os"

	"keelson/runtime/unpack"
	"keelson/services/control"
)

// unpackModule unpacks a kernel module for /init.
func unpackModule(_ context.Context, _ []string, out io.Writer) (int, error) {
	if err := unpack.Copy(out, os.Stdin); err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}
