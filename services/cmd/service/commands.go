package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"keelson/runtime/bundle"
	"keelson/runtime/programs"
	"keelson/runtime/timeline"
	"keelson/services/cli"
	"keelson/services/control"
)

// internals are what /init and the supervisor start; they are no commands for people.
var internals map[string]internal

type internal struct {
	arguments int
	run       func(ctx context.Context, args []string, out io.Writer) (code int, err error)
}

func init() {
	internals = map[string]internal{
		"supervise":       {0, supervise},
		"containerd":      {0, startContainerd},
		"unpack-module":   {0, unpackModule},
		"seccomp-filter":  {1, seccompFilter},
		"stage-artifact":  {0, stageArtifact},
		"verify-programs": {2, verifyPrograms},
		"session":         {1, serveSession},
	}
}

// start runs an internal command.
func (r internal) start(ctx context.Context, name string, args []string, out io.Writer) (int, error) {
	if len(args) != r.arguments {
		return control.CodeUsage, fmt.Errorf("%s takes %d arguments, not %d", name, r.arguments, len(args))
	}
	return r.run(ctx, args, out)
}

// commandLine returns the command line for the system of this machine.
func commandLine(in io.Reader, out, diag io.Writer) *cli.App {
	app := &cli.App{Name: "service", Client: control.Unix(control.SocketPath), In: in, Out: out, Err: diag}
	app.Machine = &cli.Machine{
		SameBundle: func(dir, name string) error { return sameBundle(dir, bundle.ServicesDir, name) },
		Timeline:   func() ([]timeline.Event, error) { return timeline.Read(timeline.Path) },
		Programs:   func(context.Context) (control.ProgramsState, error) { return programsState() },
		TrialEnded: func(ctx context.Context) error { return waitForEnd(ctx, programs.TrialFile) },
		Verbs:      []cli.Verb{logs(out, diag), assess(out), net(app), power(app, control.PowerOff), power(app, control.Reboot), power(app, control.Halt)},
	}
	return app
}

// sameBundle returns an error unless the bundle name in the folder given is the one in
// own, the supervisor's folder. A container may see that folder under another path, or
// not at all.
func sameBundle(given, own, name string) error {
	if given == "" || filepath.Clean(given) == own {
		return nil
	}
	other, err := os.Stat(filepath.Join(given, name))
	if err != nil {
		return fmt.Errorf("no bundle in -path: %w", err)
	}
	supervised, err := os.Stat(filepath.Join(own, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cannot compare -path with %s: %w", own, err)
	}
	if !os.SameFile(other, supervised) {
		return fmt.Errorf("-path %s has another bundle than %s: only bundles there are services", given, filepath.Join(own, name))
	}
	return nil
}
