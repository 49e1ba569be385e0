package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"keelson/runtime/programs/verify"
	"keelson/runtime/staging"
	"keelson/services/control"
)

// stageArtifact is the child in which the supervisor reads an artifact.
func stageArtifact(_ context.Context, _ []string, out io.Writer) (int, error) {
	return staging.Main(os.Stdin, out), nil
}

// verifyPrograms verifies a version of keelson's own programs for /init, and prints its files.
func verifyPrograms(_ context.Context, args []string, out io.Writer) (int, error) {
	list, err := verify.Version(args[0], args[1])
	if err != nil {
		return control.CodeFailed, err
	}
	for _, name := range list.Names() {
		fmt.Fprintln(out, name)
	}
	return control.CodeOK, nil
}
