package pid1

import (
	"testing"

	"keelson/init/cmdline"
)

func TestHugePageMode(t *testing.T) {
	for memory, want := range map[uint64]string{
		64 << 20: "never", 1 << 30: "never", 2<<30 - 1: "never", 2 << 30: "madvise", 512 << 30: "madvise",
	} {
		if got := hugePageMode(memory); got != want {
			t.Errorf("%d bytes: %s, want %s", memory, got, want)
		}
	}
}

// TestHugePagesOfTheCommandLine must not touch this machine's setting.
func TestHugePagesOfTheCommandLine(t *testing.T) {
	if err := limitHugePages(cmdline.Parse("transparent_hugepage=always")); err != nil {
		t.Error(err)
	}
}
