package main

import (
	"context"
	"os"

	"keelson/runtime/unpack"
	"keelson/services/control"
)

// unpackModule unpacks a kernel module for /init.
func unpackModule(_ context.Context, inv invocation) (int, error) {
	if err := unpack.Copy(inv.out, os.Stdin); err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}
