package bundle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/testvm/nstest"
)

// What Refusals refuses the real runc refuses, and what it accepts runc runs: the
// table cannot differ from the runtime that images have.
func TestRefusalsAreRuncs(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		runc, dir := nstest.Runc(t), "/run/bundle" // Users of other namespaces can go there.
		nstest.Bundle(t, dir, "true", nil, "")
		if err := os.Symlink("busybox", filepath.Join(dir, "rootfs/bin/true")); err != nil {
			t.Fatal(err)
		}
		for i, c := range refusalCases {
			s := plain()
			c.change(s)
			out, err := runRefused(t, runc, dir, fmt.Sprintf("c%d", i), s)
			if (err != nil) != (c.field != "") {
				t.Errorf("%s: runc says %v: %s; want an error: %v", c.name, err, out, c.field != "")
			} else if err != nil {
				t.Logf("%s: %s", c.name, out)
			}
		}
	})
}

// runRefused runs a container by runc, which puts s into the bundle at dir.
func runRefused(t *testing.T, runc, dir, id string, s *specs.Spec) (out []byte, err error) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err = exec.CommandContext(ctx, runc, "--root", "/run/runc", "run", "--bundle", dir, id).CombinedOutput()
	return bytes.TrimSpace(out), err
}
