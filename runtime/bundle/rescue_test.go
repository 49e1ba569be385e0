package bundle

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindRescue(t *testing.T) {
	dir := t.TempDir()
	services, own := filepath.Join(dir, "services"), filepath.Join(dir, "rescue")
	write := func(path, config string) {
		t.Helper()
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const config = `{"root":{"path":"rootfs"},"process":{"args":["sh"]}`
	want := func(name string, broken bool) {
		t.Helper()
		b, err := FindRescueIn(services, own)
		if (b == nil) != (name == "") || b != nil && b.Dir != filepath.Join(dir, name) || (err != nil) != broken {
			t.Errorf("got %+v, %v; want %q", b, err, name)
		}
	}
	want("", false)
	write(filepath.Join(services, "rescue"), config+`}`) // The annotation counts, not the name.
	write(filepath.Join(services, "broken"), `{`)
	want("", false)
	write(filepath.Join(own, "a-broken"), `{`)
	want("", true)
	write(filepath.Join(own, "b-shell"), config+`}`)
	want("rescue/b-shell", true)
	write(filepath.Join(services, "web"), config+`,"annotations":{"keelson.role":"rescue"}}`)
	want("services/web", false)
}
