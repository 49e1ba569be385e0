package main

import (
	"context"
	"os"

	"keelson/runtime/staging"
)

// stageArtifact is the child in which the supervisor reads an artifact.
func stageArtifact(_ context.Context, inv invocation) (int, error) {
	return staging.Main(os.Stdin, inv.out), nil
}
