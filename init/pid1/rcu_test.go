package pid1

import (
	"os"
	"path/filepath"
	"testing"
)

func TestExpedite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rcu_expedited")
	if err := expedite(path, true); err != nil {
		t.Errorf("a kernel without the switch: %v", err)
	}
	for _, step := range []struct {
		on   bool
		want string
	}{{true, "1\n"}, {false, "0\n"}} {
		if err := os.WriteFile(path, []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := expedite(path, step.on); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != step.want {
			t.Errorf("%v: %q", step.on, got)
		}
	}
}
