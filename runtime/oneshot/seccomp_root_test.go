package oneshot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/bundle"
	"keelson/testvm/nstest"
)

// A container with keelson.seccomp: default cannot make a user namespace, for which no
// capability is needed.
func TestDefaultFilter(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for value, want := range map[string]int{"default": 7, "none": 0} {
			for name, runtime := range map[string]string{"run": boundRoot, "created": withBind} {
				b := container(t, "000-c", "/bin/busybox unshare -U /bin/busybox true || exit 7", map[string]string{"keelson.seccomp": value}, runtime)
				path := filepath.Join(b.Dir, bundle.ConfigFile)
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				// With CAP_SYS_ADMIN, the filter allows it.
				if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte("CAP_SYS_ADMIN"), []byte("CAP_NET_RAW")), 0o644); err != nil {
					t.Fatal(err)
				}
				if b, err = bundle.Load(b.Dir); err != nil {
					t.Fatal(err)
				}
				o := options(t)
				o.Service = nstest.Guest(t, "usr/bin/service")
				if r := Run(t.Context(), b, o); r.ExitCode != want || r.Err != "" {
					t.Errorf("%s, %s: exit status %d (%s), want %d", value, name, r.ExitCode, r.Err, want)
				}
			}
		}
	})
}
