package oneshot

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// Without its filter a container does not run: whatever the program does that is to make
// it, there is a filter or an error. The program is not needed if no filter is wanted.
func TestFilterIsMadeOrAnError(t *testing.T) {
	program := filepath.Join(t.TempDir(), "service")
	for script, want := range map[string]bool{
		`echo '{"defaultAction":"SCMP_ACT_ERRNO"}'`: true,
		`echo null`:                  false,
		`echo`:                       false,
		`echo '{"defaultAction":7}'`: false,
		`echo '{}'; exit 1`:          false,
	} {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		b := newBundle(t)
		b.Spec = &specs.Spec{}
		r := &run{bundle: b, options: Options{Service: program}}
		if filter, err := r.filter(t.Context()); filter != nil || err != nil {
			t.Errorf("%s: a filter that is not wanted: %v, %v", script, filter, err)
		}
		b.Settings.Seccomp = bundle.SeccompDefault
		if filter, err := r.filter(t.Context()); (filter != nil) != want || (err == nil) != want {
			t.Errorf("%s: %v, %v", script, filter, err)
		}
	}
}
