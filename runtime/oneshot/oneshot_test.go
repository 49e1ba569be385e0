package oneshot

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"keelson/runtime/logs"
)

func TestResultInWords(t *testing.T) {
	for _, tt := range []struct {
		result Result
		want   string
		ok     bool
	}{
		{Result{}, "exited 0", true},
		{Result{ExitCode: 3}, "exited 3", false},
		{Result{ExitCode: 139, Signal: "SIGSEGV"}, "killed by SIGSEGV", false},
		{Result{ExitCode: -1, Err: "cannot x"}, "failed: cannot x", false},
	} {
		if tt.result.String() != tt.want || tt.result.OK() != tt.ok {
			t.Errorf("%+v: %q, %v", tt.result, tt.result, tt.result.OK())
		}
	}
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "onboot")
	want := Result{Name: "000-a", ExitCode: 3, Started: time.Unix(7, 0).UTC(), Took: time.Second, Stdout: "/x", Stderr: "/y"}
	for _, r := range []Result{{Name: want.Name, Err: "an earlier attempt"}, want} {
		if err := Save(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "000-a.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Result
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestOutputIsBounded(t *testing.T) {
	dir := t.TempDir()
	r := Result{Stdout: filepath.Join(dir, "out"), Stderr: filepath.Join(dir, "err")}
	if got := r.Output(); got != nil {
		t.Errorf("no files: %q", got)
	}
	long := strings.Repeat("0123456789abcde\n", 10000) + "last"
	for path, text := range map[string]string{r.Stdout: long, r.Stderr: "short"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := r.Output()
	if len(got) > outputLimit+200 || !bytes.HasSuffix(got, []byte("cde\nlast\nshort\n")) || !bytes.HasPrefix(got, []byte("(")) {
		t.Errorf("%d bytes, from %q to %q", len(got), got[:60], got[len(got)-30:])
	}
}

func TestRunWithoutRuntime(t *testing.T) {
	r := Run(context.Background(), newBundle(t), Options{Runtime: "/does/not/exist", LogDir: t.TempDir()})
	if r.Err == "" || r.OK() || r.ExitCode != -1 {
		t.Errorf("result %+v", r)
	}
}

// When the log has just been rotated, the output of before is in the rotated file.
func TestOutputAcrossFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.out.log")
	for name, text := range map[string]string{path: "", logs.Old(path): "first\nlast\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out := string(tail(path)); out != "first\nlast\n" {
		t.Errorf("output %q", out)
	}
	long := strings.Repeat("a line\n", outputLimit/7)
	if err := os.WriteFile(path, []byte(long), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := string(tail(path)); !strings.HasPrefix(out, "(") || !strings.HasSuffix(out, ")\n"+long[7:]) && !strings.HasSuffix(out, ")\n"+long) {
		t.Errorf("output begins %q and has %d bytes", out[:60], len(out))
	}
}

// The output of an earlier attempt stays in the log and is not shown again, even when
// the log was rotated meanwhile.
func TestOutputOfAFurtherAttempt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.out.log")
	appendTo := func(text string) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	want := func(r Result, shown, log string) {
		t.Helper()
		if got := string(r.Output()); got != shown {
			t.Errorf("shown %q, want %q", got, shown)
		}
		if got := string(r.Log()); got != log {
			t.Errorf("log %q, want %q", got, log)
		}
	}
	r := Result{Stdout: path, before: []extent{sizeOf(path)}}
	appendTo("first\n")
	want(r, "first\n", "first\n")
	r.before = []extent{sizeOf(path)}
	want(r, "", "first\n")
	appendTo("second\n")
	want(r, "second\n", "first\nsecond\n")
	if err := os.Rename(path, logs.Old(path)); err != nil {
		t.Fatal(err)
	}
	want(r, "second\n", "first\nsecond\n")
	appendTo("third\n")
	want(r, "second\nthird\n", "first\nsecond\nthird\n")
}
