package oneshot

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/bundle"
	"keelson/testvm/nstest"
)

// ownUser is the user of the host to which the container's root is mapped. No other test
// uses it.
const ownUser = "710000"

// A container whose user has no key left runs without a session keyring, which is
// logged. Its exit status is reported as with a keyring.
func TestNoKeys(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		nstest.TakeKeys(t, 710000)
		for _, runtime := range []string{boundRoot, withBind} {
			for script, want := range map[string]string{"exit 0": "exited 0", "exit 1": "exited 1"} {
				b := inUserNamespace(t, container(t, "000-keys", script, nil, runtime))
				var said bytes.Buffer
				o := options(t)
				o.Debug, o.Logger = true, slog.New(slog.NewTextHandler(&said, nil))
				if r := Run(t.Context(), b, o); r.String() != want {
					t.Errorf("%s: %+v, want %s\n%s", script, r, want, r.Output())
				}
				if n := strings.Count(said.String(), "root_maxkeys"); n != 1 {
					t.Errorf("%s: reported %d times:\n%s", script, n, said.String())
				}
			}
		}
	})
}

func inUserNamespace(t *testing.T, b *bundle.Bundle) *bundle.Bundle {
	t.Helper()
	for dir := b.Dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(b.Dir, bundle.ConfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mapping := `[{"containerID":0,"hostID":` + ownUser + `,"size":1}]`
	text = bytes.Replace(text, []byte(`"namespaces":[`),
		[]byte(`"uidMappings":`+mapping+`,"gidMappings":`+mapping+`,"namespaces":[{"type":"user"},`), 1)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err = bundle.Load(b.Dir); err != nil {
		t.Fatal(err)
	}
	return b
}
