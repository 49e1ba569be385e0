package pid1

import (
	"testing"

	"keelson/init/cmdline"
)

func TestHugePageMode(t *testing.T) {
	for _, tt := range []struct {
		line   string
		memory uint64
		want   string
	}{
		{"", 64 << 20, "never"}, {"", 1 << 30, "never"}, {"quiet", 2<<30 - 1, "never"},
		{"", 2 << 30, "madvise"}, {"quiet", 512 << 30, "madvise"},
		{"transparent_hugepage=always", 64 << 20, ""}, {"transparent_hugepage=never", 512 << 30, ""}, {"transparent_hugepage", 1, ""},
	} {
		if got := hugePageMode(cmdline.Parse(tt.line), tt.memory); got != tt.want {
			t.Errorf("%q, %d bytes: %q, want %q", tt.line, tt.memory, got, tt.want)
		}
	}
}
