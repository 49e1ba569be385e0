//go:build man

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"keelson/runtime/version"
	"keelson/services/control"
)

// In the program that make man builds, man-pages DIR writes the manual pages.
func init() { internals["man-pages"] = internal{1, manPages} }

func manPages(_ context.Context, args []string, _ io.Writer) (int, error) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return control.CodeFailed, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	for name, text := range commandLine(os.Stdin, io.Discard, io.Discard).ManPages(time.Unix(seconds, 0), version.String()) {
		if err := os.WriteFile(filepath.Join(args[0], name), []byte(text), 0o644); err != nil {
			return control.CodeFailed, err
		}
	}
	return control.CodeOK, nil
}
