package image

import (
	"testing"
	"time"

	"keelson/testvm/image/tree"
)

// The image's own build time takes the place of the guest's, where there is
// either.
func TestRecordBuildTime(t *testing.T) {
	for _, tc := range []struct {
		guest string
		own   int64
		want  string
	}{{"1790000000\n", 1800000000, "1800000000\n"}, {"1790000000\n", 0, "1790000000\n"}, {"", 1800000000, ""}} {
		root := tree.New()
		if tc.guest != "" {
			root.Set(tree.Entry{Path: buildTimeFile, Type: tree.File, Mode: 0o644, Data: []byte(tc.guest)})
		}
		b := &builder{Options: Options{ModTime: time.Unix(tc.own, 0)}}
		b.recordBuildTime(root)
		if e, _ := root.Get(buildTimeFile); string(e.Data) != tc.want {
			t.Errorf("%+v: %q", tc, e.Data)
		}
	}
}
