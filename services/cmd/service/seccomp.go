package main

import (
	"context"
	"encoding/json"

	"keelson/runtime/bundle"
	"keelson/runtime/seccomp"
	"keelson/services/control"
)

// seccompFilter prints the filter of system calls of the bundle in a folder, for /init.
func seccompFilter(_ context.Context, inv invocation) (int, error) {
	b, err := bundle.Load(inv.names[0])
	if err != nil {
		return control.CodeFailed, err
	}
	filter, err := seccomp.Filter(b)
	if err == nil {
		err = json.NewEncoder(inv.out).Encode(filter)
	}
	if err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}
