package main

import (
	"context"
	"encoding/json"
	"io"

	"keelson/runtime/bundle"
	"keelson/runtime/seccomp"
	"keelson/services/control"
)

// seccompFilter prints the filter of system calls of the bundle in a folder, for /init.
func seccompFilter(_ context.Context, args []string, out io.Writer) (int, error) {
	b, err := bundle.Load(args[0])
	if err != nil {
		return control.CodeFailed, err
	}
	filter, err := seccomp.Filter(b)
	if err == nil {
		err = json.NewEncoder(out).Encode(filter)
	}
	if err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}
