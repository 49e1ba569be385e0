package main

import (
	"context"
	"fmt"
	"os"

	"keelson/runtime/programs/verify"
	"keelson/runtime/staging"
	"keelson/services/control"
)

// stageArtifact is the child in which the supervisor reads an artifact.
func stageArtifact(_ context.Context, inv invocation) (int, error) {
	return staging.Main(os.Stdin, inv.out), nil
}

// verifyPrograms verifies a version of keelson's own programs for /init, and prints its files.
func verifyPrograms(_ context.Context, inv invocation) (int, error) {
	list, err := verify.Version(inv.names[0], inv.names[1])
	if err != nil {
		return control.CodeFailed, err
	}
	for _, name := range list.Names() {
		fmt.Fprintln(inv.out, name)
	}
	return control.CodeOK, nil
}
