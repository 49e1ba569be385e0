package supervisor

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/containerd"
	"keelson/services/task"
)

// A sweep is asked about each container. One that takes longer than a shutdown does not hold
// that up.
func TestSweep(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			used := map[string]bool{}
			f.sweep = func(namespaces []string, uses func(namespace, id string) bool) ([]containerd.Swept, error) {
				if late {
					time.Sleep(time.Hour)
				}
				if !slices.Contains(namespaces, bundle.DefaultNamespace) {
					t.Errorf("namespaces %q", namespaces)
				}
				for _, id := range []string{"a", "gone"} {
					used[id] = uses(bundle.DefaultNamespace, id)
				}
				return nil, nil
			}
			o := newOwnerIn(t, t.TempDir(), "", f)
			o.report(task.Started{PID: 7})
			o.post(o.sweepLater)
			synctest.Wait()
			if !late && (!used["a"] || used["gone"]) {
				t.Errorf("used: %v", used)
			}
			o.stop()
			if late && !used["gone"] {
				t.Error("a container was removed after the services had stopped")
			}
		})
	}
}
