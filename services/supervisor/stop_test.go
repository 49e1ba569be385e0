package supervisor

import (
	"reflect"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A stop signal is repeated if the runtime received it before it executed the program, and
// not if the program received it.
func TestStopBeforeTheProgramRuns(t *testing.T) {
	for _, tt := range []struct {
		becomes     string
		immediately bool
		want        []string
	}{
		{"/memfd:runc", false, []string{"+a", "-a"}}, {"/bin/a", false, []string{"+a", "-a", "-a"}},
		{"/bin/a", true, []string{"+a", "-a", "-a"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.program = "/memfd:runc"
			if tt.immediately {
				f.becomes = tt.becomes
			}
			delete(f.obeys, syscall.SIGTERM)
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
