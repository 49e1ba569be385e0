package boots

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/kmsg"
)

// records returns the numbers of the records in a file of the kernel log.
func records(t *testing.T, path string) (all []uint64) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if r, ok := kmsg.Parse([]byte(line)); ok {
			all = append(all, r.Sequence)
		} else if _, ok := parseEpoch([]byte(strings.TrimSuffix(line, "\n"))); !ok {
			t.Errorf("%s has %q", path, line)
		}
	}
	return all
}

func record(n int) []byte { return fmt.Appendf(nil, "6,%d,%d,-;record %d\n SUBSYSTEM=x\n", n, n, n) }

// The kernel log is continued after each of its records, by another writer, also after a torn line
// or a rotation, without a record that is missing or twice.
func TestKernelWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kernel")
	for n := range 20 {
		w := newKernelWriter(path, 1<<20)
		for i := range n + 1 { // The kernel has all of them still.
			w.add(record(i))
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		w.close()
		if n%3 == 0 {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(f, "6,%d,7,-;torn", n+1)
			f.Close()
		}
	}
	for i, n := range records(t, path) {
		if n != uint64(i) {
			t.Fatalf("record %d is in the place of %d", n, i)
		}
	}
	if got := len(records(t, path)); got != 20 {
		t.Errorf("%d records", got)
	}
	w := newKernelWriter(path, 2000)
	for i := 20; i < 400; i++ {
		w.add(record(i))
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	w.close()
	all := append(records(t, old(path)), records(t, path)...)
	for i, n := range all {
		if n != all[0]+uint64(i) {
			t.Fatalf("record %d comes after %d", n, all[i-1])
		}
	}
	if all[len(all)-1] != 399 {
		t.Errorf("the last record is %d", all[len(all)-1])
	}
	for _, p := range []string{path, old(path)} {
		if info, err := os.Stat(p); err != nil || info.Size() > 2000 {
			t.Errorf("%s: %d bytes, %v", p, info.Size(), err)
		}
	}
	b := Boot{Dir: filepath.Dir(path)}
	if e := b.Epoch(); time.Until(time.Unix(0, int64(e))) > 0 || e == 0 {
		t.Errorf("epoch %v", e)
	}
}

// The last record is found in any file.
func FuzzLastRecord(f *testing.F) {
	f.Add([]byte("6,1,2,-;x\n6,2,2,-;to"))
	f.Add([]byte("=12\n\x00\x00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "kernel")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		w := newKernelWriter(path, 1<<20)
		next := w.last + 1
		if next == 0 {
			return
		}
		w.add(fmt.Appendf(nil, "6,%d,7,-;next\n", next))
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		w.close()
		if last, ok := lastRecord(path); !ok || last != next {
			t.Errorf("last record %d, %v, want %d", last, ok, next)
		}
		_ = Boot{Dir: filepath.Dir(path)}.Epoch()
	})
}

// The supervisor keeps logs of one-shot containers, removes old boots, and records the end; a
// supervisor after it takes the end back.
func TestKeeper(t *testing.T) {
	m := newMachine(t)
	shots := filepath.Join(t.TempDir(), "onboot")
	m.put(filepath.Join(shots, "onboot.000-first.log"), "one\n")
	m.put(filepath.Join(shots, "onboot.001-large.log"), strings.Repeat("x", 5<<20))
	m.put(filepath.Join(shots, "notes"), "no\n")
	var b Boot
	for range 7 {
		b, _ = m.boot()
	}
	keep := func() *Keeper {
		return Keep(m.o.Dir, "/dev/null", b.ID, []string{shots, "/none"}, slog.New(slog.DiscardHandler))
	}
	k := keep()
	k.Ask(func() End { return End{How: Reboot} })
	m.put(filepath.Join(shots, "shutdown.000-last.out.log"), "two\n")
	k.End(t.Context(), func() End { return End{How: Reboot, By: "me", Time: time.Now()} })
	m.expect("4: "+lostText, "5: "+lostText, "6: "+lostText, "7: reboot, ordered by me")
	entries, err := os.ReadDir(b.LogDir())
	if err != nil || len(entries) != 2 || entries[0].Name() != "onboot.000-first.log" || entries[1].Name() != "shutdown.000-last.out.log" {
		t.Errorf("logs %v, %v", entries, err)
	}
	if exists(filepath.Join(b.Dir, askedFile)) {
		t.Error("the order stays")
	}
	k = keep()
	<-k.begun
	if exists(filepath.Join(b.Dir, endFile)) {
		t.Error("the end stays after the supervisor was restarted")
	}
	k.End(t.Context(), func() End { return End{How: Halt} })
	Keep(m.o.Dir, "/dev/null", ID{77}, nil, slog.New(slog.DiscardHandler)).End(t.Context(), func() End { t.Error("asked for the end of a boot that has not begun"); return End{} })
	m.expect("4: "+lostText, "5: "+lostText, "6: "+lostText, "7: halt")
}
