package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseContainerdSettings(t *testing.T) {
	for _, tc := range []struct {
		text string
		want containerdSettings
		bad  []string // words of the error
	}{
		{"", containerdSettings{}, nil},
		{"cliopts = \" --log-level  debug \"\nstdout = \"/var/log/out\"\nstderr = \"stdout\"\n",
			containerdSettings{options: []string{"--log-level", "debug"}, stdout: "/var/log/out", stderr: "stdout"}, nil},
		{"cliopts = 3\nstderr = \"/e\"", containerdSettings{stderr: "/e"}, []string{"cliopts", "3"}},
		{"stdout = \"relative\"", containerdSettings{}, []string{"stdout", "relative"}},
		{"cliops = \"x\"\ncliopts = \"-l x\"", containerdSettings{options: []string{"-l", "x"}}, []string{"cliops"}},
		{"cliopts = \"a\"\nstderr = \n", containerdSettings{}, []string{"line 2"}},
		{"a = 1\na = 2", containerdSettings{}, []string{"line 2", "a"}},
	} {
		got, err := parseContainerdSettings([]byte(tc.text))
		if !reflect.DeepEqual(got, tc.want) || (err != nil) != (tc.bad != nil) {
			t.Errorf("%q: %+v, %v", tc.text, got, err)
		}
		for _, word := range tc.bad {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %v does not name %q", tc.text, err, word)
			}
		}
	}
}

func FuzzParseContainerdSettings(f *testing.F) {
	f.Add([]byte("cliopts = \"--log-level debug\"\nstdout = \"/x\"\n"))
	f.Add([]byte("[a]\nb = [1, {c = 2}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseContainerdSettings(text)
		for _, out := range []string{s.stdout, s.stderr} {
			if out != "" && out != "stdout" && out != "stderr" && out[0] != '/' {
				t.Fatalf("output %q, %v", out, err)
			}
		}
	})
}

// TestRedirect redirects the output of another process, which is this test binary.
func TestRedirect(t *testing.T) {
	if dir := os.Getenv("KEELSON_TEST_REDIRECT"); dir != "" {
		redirectIn(dir)
	}
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRedirect$")
	cmd.Env = append(os.Environ(), "KEELSON_TEST_REDIRECT="+dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("third diag\npid %d\n", cmd.Process.Pid); string(out) != want {
		t.Errorf("stdout was given %q, want %q", out, want)
	}
	for file, want := range map[string]string{"log": "first out\nfirst diag\nsecond diag\n", "second": "second out\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", file, got, err, want)
		}
	}
}

func redirectIn(dir string) {
	log := filepath.Join(dir, "log")
	first, err := syscall.Dup(1)
	if err != nil {
		os.Exit(1)
	}
	redirect := func(s containerdSettings) error {
		out, diag, err := s.outputs(log)
		_, _ = unix.Dup3(out, 1, 0), unix.Dup3(diag, 2, 0)
		return err
	}
	say := func(s string) { fmt.Fprintln(os.Stdout, s, "out"); fmt.Fprintln(os.Stderr, s, "diag") }
	if redirect(containerdSettings{}) != nil {
		os.Exit(2)
	}
	say("first")
	if redirect(containerdSettings{stdout: filepath.Join(dir, "second"), stderr: filepath.Join(dir, "no/such/folder")}) == nil {
		os.Exit(3) // The error of the folder is missing.
	}
	say("second")
	if unix.Dup3(first, 1, 0) != nil || redirect(containerdSettings{stdout: "/dev/null", stderr: "stdout"}) != nil {
		os.Exit(4)
	}
	say("third")
	// execve(2) keeps the process ID.
	_ = syscall.Exec("/bin/sh", []string{"sh", "-c", "exec >&2; echo pid $$; exit 0"}, nil)
	os.Exit(5)
}
