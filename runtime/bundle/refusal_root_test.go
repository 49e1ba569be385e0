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

// runc refuses the configurations that Refusals refuses, and runs those that it accepts.
func TestRefusalsMatchRunc(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		runc, dir := nstest.Runc(t), "/run/bundle" // Users of other namespaces can access it.
		nstest.Bundle(t, dir, "true", nil, "")
		if err := os.Symlink("busybox", filepath.Join(dir, "rootfs/bin/true")); err != nil {
			t.Fatal(err)
		}
		for i, c := range refusalCases {
			s := plain()
			c.change(s)
			out, err := runRefused(t, runc, dir, fmt.Sprintf("c%d", i), s)
			if (err != nil) != (c.field != "") {
				t.Errorf("%s: runc returns %v: %s; want an error: %v", c.name, err, out, c.field != "")
			} else if err != nil {
				t.Logf("%s: %s", c.name, out)
			}
		}
	})
}

// runRefused writes s to the bundle at dir and runs it with runc.
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
