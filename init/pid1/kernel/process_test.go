package kernel

import (
	"testing"

	"keelson/runtime/cmdline"
)

func TestFilesOf(t *testing.T) {
	for text, want := range map[string][2]uint64{
		"": {1024, 524288}, "keelson.nofile=1048576": {1 << 20, 1 << 20}, "keelson.nofile=4096:8192": {4096, 8192},
		"keelson.nofile=x": {1024, 524288}, "keelson.nofile=8192:4096": {1024, 524288}, "keelson.nofile=10": {1024, 524288}, "keelson.nofile=1024:9999999": {1024, 524288}, "keelson.nofile=": {1024, 524288},
	} {
		line := cmdline.Parse(text)
		got, err := filesOf(line)
		if got.Cur != want[0] || got.Max != want[1] {
			t.Errorf("%q: %+v", text, got)
		}
		if wrong := text != "" && want[0] == 1024; wrong != (err != nil) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
