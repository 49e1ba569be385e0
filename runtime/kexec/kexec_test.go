package kexec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct{ running, more, want string }{
		{"console=ttyS0 quiet\n", "", "console=ttyS0 quiet"},
		{"console=ttyS0\n", " keelson.rescue \n", "console=ttyS0 keelson.rescue"},
		{"\n", "quiet", "quiet"},
		{"", "", ""},
		{strings.Repeat("x", 4000), strings.Repeat("y", 94), strings.Repeat("x", 4000) + " " + strings.Repeat("y", 94)},
	} {
		if got, err := commandLine(c.running, c.more); got != c.want || err != nil {
			t.Errorf("%q, %q: %q, %v", c.running, c.more, got, err)
		}
	}
	for _, more := range []string{"a\x00b", strings.Repeat("y", 4096)} {
		if _, err := commandLine("quiet", more); err == nil {
			t.Errorf("no error for %.10q", more)
		}
	}
}

func TestFiles(t *testing.T) {
	for _, c := range []struct {
		o              Options
		kernel, initrd string
	}{
		{Options{Kernel: "/k"}, "/k", ""},
		{Options{Kernel: "/k", Initrd: "/i"}, "/k", "/i"},
	} {
		if kernel, initrd, err := c.o.files(); kernel != c.kernel || initrd != c.initrd || err != nil {
			t.Errorf("%+v: %s, %s, %v", c.o, kernel, initrd, err)
		}
	}
	if _, err := os.Stat(DefaultKernel); errors.Is(err, fs.ErrNotExist) {
		if _, _, err := (Options{}).files(); err == nil || !strings.Contains(err.Error(), "--kernel") {
			t.Errorf("without a kernel in the image: %v", err)
		}
	}
}

// What cannot be loaded is an error that names the file. Nothing is loaded here: the files are no kernels.
func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no file":   {Kernel: filepath.Join(dir, "none")},
		"no kernel": {Kernel: text},
		"no initrd": {Kernel: text, Initrd: filepath.Join(dir, "none")},
	} {
		if err := Load(o); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if reason(unix.ENOSYS) == "" || reason(unix.EIO) != "" {
		t.Error("a reason is missing, or wrong")
	}
}
