package clock

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRTC(t *testing.T) {
	rtc := &unix.RTCTime{Year: 126, Mon: 1, Mday: 28, Hour: 23, Min: 59, Sec: 58, Wday: 6, Yday: 58}
	got := fromRTC(rtc)
	if want := time.Date(2026, time.February, 28, 23, 59, 58, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if back := toRTC(got.In(time.FixedZone("east", 3600))); *back != *rtc {
		t.Errorf("%+v, want %+v", back, rtc)
	}
	if _, err := ReadHardware(filepath.Join(t.TempDir(), "rtc0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a hardware clock: %v", err)
	}
	if err := writeHardware(filepath.Join(t.TempDir(), "rtc0")); err != nil {
		t.Errorf("without a hardware clock: %v", err)
	}
	if err := writeHardware(os.DevNull); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a device that is no clock: %v", err)
	}
}

func TestBuilt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "build-time")
	if got, err := Built(file); !got.Equal(Oldest) || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	for text, want := range map[string]time.Time{
		"1790000000\n": time.Unix(1790000000, 0), "0": Oldest, "86400": Oldest, "": {}, "-1": {}, "today": {}, "99999999999": {},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Built(file)
		if bad := want.IsZero(); bad != (err != nil) || bad && !got.Equal(Oldest) || !bad && !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestImplausible(t *testing.T) {
	built := time.Date(2026, time.November, 27, 12, 0, 0, 0, time.UTC)
	for at, believed := range map[string]bool{
		"1970-01-01T00:00:07Z": false, "1999-12-31T23:59:59Z": false, "2026-11-27T11:59:59Z": false,
		"2026-11-27T12:00:00Z": true, "2036-01-01T00:00:00Z": true, "2046-11-27T12:00:00Z": true,
		"2046-11-27T12:00:01Z": false, "2062-05-05T00:00:00Z": false, "2099-01-01T00:00:00Z": false,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if why := Implausible(now, built); believed != (why == "") {
			t.Errorf("%s: %q", at, why)
		}
	}
}

// A clock that differs from the record was set by another program.
func TestWasSet(t *testing.T) {
	record := filepath.Join(t.TempDir(), "run/clock")
	if set, err := WasSet(record); set || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no record: %v, %v", set, err)
	}
	if err := Remember(record); err != nil {
		t.Fatal(err)
	}
	if set, err := WasSet(record); set || err != nil {
		t.Errorf("the clock was not set: %v, %v", set, err)
	}
	for _, text := range []string{"0", "9223372036854775807", "-9223372036854775808", "", "x", "1e3"} {
		if err := os.WriteFile(record, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := WasSet(record)
		if bad := text == "" || text[0] > '9' || text == "1e3"; bad != (err != nil) || !bad && !set {
			t.Errorf("record %q: %v, %v", text, set, err)
		}
	}
}

// Only a plausible trace that is later than the clock raises it.
func TestReadTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock")
	if at, err := readTrace(file, Oldest); !at.IsZero() || err != nil {
		t.Errorf("no trace: %v, %v", at, err)
	}
	if err := touch(file); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at        time.Time
		used, bad bool
	}{
		{Oldest.AddDate(-1, 0, 0), false, false},
		{Oldest.AddDate(10, 0, 0), true, false},
		{Oldest.AddDate(30, 0, 0), false, true},
	} {
		if err := os.Chtimes(file, c.at, c.at); err != nil {
			t.Fatal(err)
		}
		at, err := readTrace(file, Oldest)
		if c.bad != (err != nil) || c.used != at.Equal(c.at) || c.used == at.IsZero() {
			t.Errorf("trace of %v: %v, %v", c.at, at, err)
		}
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, past, past); err != nil {
		t.Fatal(err)
	}
	if _, to, err := Raise(file, filepath.Join(t.TempDir(), "record"), Oldest); !to.IsZero() || err != nil {
		t.Errorf("a trace before now sets the clock to %v, %v", to, err)
	}
}

// A trace that is no regular file blocks nothing, and is not replaced.
func TestTouchOther(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock")
	if err := unix.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := touch(file); err == nil {
		t.Error("no error for a FIFO")
	}
}

// A keeper leaves a trace at its start and at its end, and survives a disk that refuses it.
func TestKeeper(t *testing.T) {
	for name, prepare := range map[string]func(file string) error{
		"disk": func(string) error { return nil },
		"full": func(file string) error { return os.Mkdir(file, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "clock")
			if err := prepare(file); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			k := &Keeper{Trace: file, Record: filepath.Join(dir, "record"), Hardware: filepath.Join(dir, "rtc0"), BuildTime: filepath.Join(dir, "none"), Logger: slog.New(slog.DiscardHandler)}
			begin := time.Now().Add(-time.Second)
			k.start(ctx)
			cancel()
			k.Wait(t.Context())
			select {
			case <-k.done:
			default:
				t.Fatal("Wait returned before the end")
			}
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(file)
			switch {
			case name == "full" || inMemory(&st):
			case err != nil:
				t.Error(err)
			case info.ModTime().Before(begin):
				t.Errorf("the trace is of %v", info.ModTime())
			}
		})
	}
}

// The end of a wait does not depend on a disk that hangs.
func TestKeeperHangs(t *testing.T) {
	k := &Keeper{Logger: slog.New(slog.DiscardHandler), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.Wait(ctx)
}
