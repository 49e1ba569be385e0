package supervisor

import (
	"reflect"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A stop signal that came while the runtime was becoming the program is sent
// again, and one that came to the program is not.
func TestStopOfWhatIsNotYetItself(t *testing.T) {
	for _, tt := range []struct {
		becomes string
		atOnce  bool
		want    []string
	}{
		{"/memfd:runc", false, []string{"+a", "-a"}}, {"/bin/a", false, []string{"+a", "-a", "-a"}},
		{"/bin/a", true, []string{"+a", "-a", "-a"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.program = "/memfd:runc"
			if tt.atOnce {
				f.turns = tt.becomes
			}
			delete(f.heed, syscall.SIGTERM)
			r := newRig(t, f, map[string]string{"a": `"keelson.stop.timeout":"3s"`})
			go func() {
				time.Sleep(101 * time.Millisecond)
				f.mu.Lock()
				f.program = tt.becomes
				f.mu.Unlock()
			}()
			r.stop()
			if got := r.changes(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("when it becomes %s: %v, want %v", tt.becomes, got, tt.want)
			}
		})
	}
}
