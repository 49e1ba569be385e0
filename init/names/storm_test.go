package names

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"keelson/runtime/blkid"
	"keelson/runtime/devnames"
)

// A storm of events of a thousand disks, one of which does not answer for long and another in which a process is
// killed, ends with the links to what the disks contain then.
func TestStorm(t *testing.T) {
	const n = 1000
	node := func(i int) string { return fmt.Sprint("vd", i) }
	devices := map[string]map[string]string{}
	for i := range n {
		devices[fmt.Sprint("virtual/block/", node(i))] = block(node(i), fmt.Sprint("254:", i), fmt.Sprint(i+1))
	}
	sys := sysfs(t, devices)
	var mu sync.Mutex
	content := map[string]string{}
	answer := make(chan struct{})
	reads, hung := 0, 0
	s := at(t, sys, func(node string, _ int64) (blkid.Content, error) {
		mu.Lock()
		defer mu.Unlock()
		reads++
		label := content[node]
		if node == "vd7" {
			hung++
			mu.Unlock()
			<-answer
			mu.Lock()
		}
		return blkid.Content{Label: label}, nil
	})
	killed := false
	r := devnames.New(func(ctx context.Context, changed []string) error {
		if mu.Lock(); reads > 3*n && !killed {
			killed = true
			mu.Unlock()
			return errors.New("killed")
		}
		mu.Unlock()
		return s.Update(ctx, changed, func(err error) { t.Error(err) })
	}, func(error) {})
	for round := range 5 {
		for i := range n {
			mu.Lock()
			content[node(i)] = fmt.Sprintf("%d-%d", round, i)
			mu.Unlock()
			r.Renew(t.Context(), []string{fmt.Sprint("254:", i)})
		}
		if round == 3 { // Every tenth disk is removed.
			for i := 0; i < n; i += 10 {
				if err := os.Remove(filepath.Join(sys, "class/block", node(i))); err != nil {
					t.Fatal(err)
				}
				r.Renew(t.Context(), []string{fmt.Sprint("254:", i)})
			}
		}
	}
	want := map[string]string{}
	for i := range n {
		if i%10 != 0 {
			want["disk/by-label/4-"+fmt.Sprint(i)] = node(i)
		}
	}
	await := func() {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); !maps.Equal(links(t, s), want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				got := links(t, s)
				t.Fatalf("%d links, want %d; that of vd8: %v", len(got), len(want), got["disk/by-label/4-8"])
			}
		}
	}
	delete(want, "disk/by-label/4-7")
	await()
	if mu.Lock(); hung != 1 {
		t.Errorf("a disk that does not answer is read by %d processes", hung)
	}
	mu.Unlock()
	close(answer)
	want["disk/by-label/4-7"] = "vd7"
	await()
}

// A process that has ended, or another one with its number, does not read a device.
func TestAsker(t *testing.T) {
	self := asker()
	if !alive(self) {
		t.Errorf("%q does not run", self)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"", "x", self + "1", fmt.Sprint(ended.ProcessState.Pid(), " 1"), fmt.Sprint(os.Getpid()), fmt.Sprint(os.Getpid(), " ")} {
		if alive(other) {
			t.Errorf("%q runs", other)
		}
	}
}
