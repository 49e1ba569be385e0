package daemon

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/blockio"
	"github.com/containerd/containerd/v2/pkg/rdt"
)

// TestClasses sets what config.toml may name: files of classes, which this containerd cannot read.
func TestClasses(t *testing.T) {
	for field, set := range map[string]func(string) error{
		"linux.resources.blockIO": blockio.SetConfig,
		"linux.intelRdt":          rdt.SetConfig,
	} {
		if err := set(""); err != nil {
			t.Errorf("without a file: %v", err)
		}
		if err := set("/etc/classes.yaml"); err == nil || !strings.Contains(err.Error(), "set "+field+" in config.json") {
			t.Errorf("with a file: %v, want an error that names %s", err, field)
		}
	}
	if blockio.IsEnabled() || rdt.IsEnabled() {
		t.Error("classes are enabled")
	}
}
