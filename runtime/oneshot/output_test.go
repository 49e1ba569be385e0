package oneshot

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"keelson/runtime/logs"
	"keelson/runtime/logs/logstest"
	"keelson/testvm/nstest"
)

// A container that prints without end does not fill /run, and its last lines are kept.
func TestFloodIsBounded(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := container(t, "000-flood", "i=0; while [ $i -lt 60000 ]; do echo a line of about forty bytes number $i; i=$((i+1)); done; echo the end", nil, boundRoot)
		r := Run(t.Context(), b, options(t))
		if r.String() != "exited 0" {
			t.Fatalf("%+v", r)
		}
		var size int64
		for _, path := range []string{r.Stdout, logs.Old(r.Stdout)} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > logLimit || size < logLimit/4 {
			t.Errorf("the log has %d bytes", size)
		}
		if out := string(r.Output()); !strings.HasSuffix(out, "the end\n") {
			t.Errorf("output ends %q", out[max(0, len(out)-60):])
		}
	})
}

// With linuxkit.runc_console=1 whole lines are shown as they come, once.
func TestMirror(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		var mu sync.Mutex
		var shown []string
		o := options(t)
		o.Mirror = func(text []byte) {
			mu.Lock()
			defer mu.Unlock()
			shown = append(shown, strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")...)
		}
		r := Run(t.Context(), container(t, "000-m", "printf half; sleep 0.1; echo ' line'; echo other >&2", nil, boundRoot), o)
		if out := r.Output(); len(out) != 0 {
			t.Errorf("shown again: %q", out)
		}
		slices.Sort(shown)
		if !slices.Equal(shown, []string{"half line", "other"}) {
			t.Errorf("shown %q", shown)
		}
		if text, err := os.ReadFile(r.Stdout); string(text) != "half line\n" {
			t.Errorf("log holds %q, %v", text, err)
		}
	})
}

// A logging daemon gets both streams and their ends, and is asked for the output that
// the console shows.
func TestLoggingDaemon(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		daemon := logstest.Start(t, logs.ExternalSocket, logs.QuerySocket)
		b := container(t, "000-x", "echo out; echo err >&2; exit 3", nil, boundRoot)
		r := Run(t.Context(), b, options(t))
		if got := daemon.Ended(t, "onboot.000-x", 1); !slices.Equal(got, []string{"err"}) {
			t.Errorf("stderr at the daemon: %q", got)
		}
		if got := daemon.Ended(t, "onboot.000-x.out", 1); !slices.Equal(got, []string{"out"}) {
			t.Errorf("stdout at the daemon: %q", got)
		}
		if r.String() != "exited 3" || r.Stdout != "" {
			t.Errorf("%+v", r)
		}
		if left, _ := os.ReadDir("/run/log/onboot"); len(left) != 0 {
			t.Errorf("there are log files too: %v", left)
		}
		// Without a listening daemon the output goes to files.
		if err := os.Remove(logs.ExternalSocket); err != nil {
			t.Fatal(err)
		}
		r = Run(t.Context(), b, options(t))
		if text, err := os.ReadFile(r.Stderr); string(text) != "err\n" {
			t.Errorf("log holds %q, %v", text, err)
		}
	})
}
