package timeline

import (
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestStringAndParse(t *testing.T) {
	for _, tt := range []struct {
		event Event
		text  string
	}{
		{Event{At: 512 * ms, Stage: Kernel}, "[   0.512] kernel"},
		{Event{At: 1234 * ms, Stage: Mounts, Took: 4 * ms}, "[   1.234] mounts: after 0.004s"},
		{Event{At: 1234 * ms, Stage: Onboot, Name: "000-sysctl", Result: "exited 0", Took: 210 * ms},
			"[   1.234] onboot 000-sysctl: exited 0 after 0.210s"},
		{Event{At: 1234 * ms, Stage: Onboot, Name: "003-format", Result: "failed: timeout after 1.500s", Took: 210 * ms, Note: "continuing (by default); log: /var/log/x"},
			"[   1.234] onboot 003-format: failed: timeout after 1.500s after 0.210s; continuing (by default); log: /var/log/x"},
		{Event{At: ms, Stage: Onboot, Name: "x", Result: "failed: a; b after c", Took: ms, Note: "d: after e; after f"},
			"[   0.001] onboot x: failed: a; b after c after 0.001s; d: after e; after f"},
		{Event{At: ms, Stage: Service, Name: "x", Result: "exited 1 (ran 1.0s); more after that"},
			"[   0.001] service x: exited 1 (ran 1.0s); more after that"},
		{Event{At: 99999 * time.Second, Stage: Ready, Result: "2 services running"},
			"[99999.000] ready: 2 services running"},
		{Event{At: ms, Stage: Service, Name: "x", Result: "failed: cannot mount a on b: no such device"},
			"[   0.001] service x: failed: cannot mount a on b: no such device"},
	} {
		if got := tt.event.String(); got != tt.text {
			t.Errorf("String() = %q, want %q", got, tt.text)
		}
		for _, line := range []string{"keelson: " + tt.text, "\x1b[0mnoise keelson: " + tt.text + "\r\n"} {
			got, ok := ParseLine(line)
			if !ok || got != tt.event {
				t.Errorf("ParseLine(%q) = %+v, %v; want %+v", line, got, ok, tt.event)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "keelson: hello", "[    1.234567] usb 1-1: new device", "[   1.234] ready: 2 services running",
		"keelson: [   1.234567] ready: x", "keelson: [x] ready", "keelson: [   1.234] ", "keelson: [  -1.234] ready",
	} {
		if e, ok := ParseLine(line); ok {
			t.Errorf("ParseLine(%q) = %+v, want none", line, e)
		}
	}
}

func TestStringIsOneLine(t *testing.T) {
	e := Event{Stage: Service, Name: "x", Result: "failed: a\nkeelson: [   1.000] ready: no\x1b"}
	want := "[   0.000] service x: failed: a keelson: [   1.000] ready: no"
	if got := e.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAppendFromMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := Append(path, Event{At: Now(), Stage: Service, Name: "a", Result: "running"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	events, err := Read(path)
	if err != nil || len(events) != 400 {
		t.Fatalf("read %d events, error %v; want 400", len(events), err)
	}
}

func TestReadLeavesOutBrokenLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline")
	text := `{"at":1,"stage":"kernel"}` + "\nrubbish\n" + `{"at":2,"stage":"ready","result":"0 services running"}` + "\n" + `{"at":3,"sta`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	want := []Event{{At: 1, Stage: Kernel}, {At: 2, Stage: Ready, Result: "0 services running"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestNowMovesOn(t *testing.T) {
	a := Now()
	if b := Now(); a <= 0 || b < a {
		t.Errorf("Now() = %v, then %v", a, b)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("keelson: [   1.234] onboot 000-sysctl: exited 0 after 0.210s")
	f.Add("keelson: [   1.234] kernel")
	f.Add("keelson: [ 1.23] x: : after s")
	f.Fuzz(func(t *testing.T, line string) {
		if e, ok := ParseLine(line); ok {
			again, ok := ParseLine("keelson: " + e.String())
			if !ok || again.At != e.At || again.Stage != e.Stage || e.Took > 0 && OneLine(again.Outcome()) != OneLine(e.Outcome()) {
				t.Errorf("%q read as %+v, printed and read as %+v", line, e, again)
			}
		}
	})
}
