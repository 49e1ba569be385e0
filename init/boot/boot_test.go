package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

func TestHostname(t *testing.T) {
	for _, tc := range []struct{ given, current, mac, want string }{
		{"box", "old", "52:54:00:12:34:56", "box"},
		{"", "given", "52:54:00:12:34:56", "given"},
		{"", "(none)", "52:54:00:12:34:56", "linuxkit-525400123456"},
		{"", "", "", "linuxkit"},
	} {
		if got := hostname(tc.given, tc.current, tc.mac); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestParseHostname(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "\n \n": "", "box\n": "box", "# the name of this machine\nbox7\n": "box7", "\n\t#\n box7 # of ours\nother\n": "box7",
		"box7\r\nother\r\n": "box7", "\ufeffbox7\n": "box7", "a.example.org.\n": "a.example.org", "My_Box-1": "My_Box-1", "# only\n#": "",
		strings.Repeat("x", 64): strings.Repeat("x", 64),
	} {
		if got, err := parseHostname(text); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"b\x00x", "bücher", "a..b", ".", "-a", "a-", "a/b", "box;reboot", strings.Repeat("x", 65), "\n=\nbox"} {
		if got, err := parseHostname(text); got != "" || err == nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzParseHostname(f *testing.F) {
	f.Add("# a\n\nbox7 # b\nc")
	f.Add("\ufeff\x00.")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := parseHostname(text)
		if name != "" && (err != nil || len(name) > hostnameMax || strings.ContainsAny(name, "# \n\x00")) {
			t.Errorf("%q: %q, %v", text, name, err)
		}
	})
}

func TestMakeTarget(t *testing.T) {
	dir := t.TempDir()
	link, plain := filepath.Join(dir, "link"), filepath.Join(dir, "plain")
	for _, err := range []error{os.Symlink("run/r/resolv.conf", link), os.WriteFile(plain, []byte("x"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// A target that exists is not opened: opening a FIFO would block.
	fifo := filepath.Join(dir, "fifo")
	for _, err := range []error{unix.Mkfifo(fifo+".target", 0o600), os.Symlink("fifo.target", fifo)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, plain, fifo, filepath.Join(dir, "none")} {
		if err := makeTarget(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "run/r/resolv.conf")); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(plain); string(text) != "x" {
		t.Errorf("a plain file was changed to %q", text)
	}
}

func TestClock(t *testing.T) {
	class := t.TempDir()
	if kernelSetClock(class) {
		t.Error("kernelSetClock is true without hardware clocks")
	}
	for name, flag := range map[string]string{"rtc0": "0\n", "rtc1": "1\n"} {
		if err := os.Mkdir(filepath.Join(class, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, name, "hctosys"), []byte(flag), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !kernelSetClock(class) {
		t.Error("kernelSetClock is false, but the second hardware clock has set the time")
	}
}

// Only containers that may need the links wait for them, and only until the deadline.
func TestWaitForLinks(t *testing.T) {
	own := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.NetworkNamespace}}}}
	other := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/run/netns/x"}}}}
	host := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}}}
	named := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/proc/1/ns/net"}}}}
	for _, s := range []*specs.Spec{own, other} {
		waiting := &links{done: make(chan struct{}), until: time.Now().Add(time.Hour)} // Would hang.
		if waiting.wait(t.Context(), &bundle.Bundle{Spec: s}) {
			t.Errorf("%+v: started without the links", s.Linux.Namespaces)
		}
	}
	for _, s := range []*specs.Spec{host, named, {}, nil} {
		b := &bundle.Bundle{Spec: s}
		over := &links{done: make(chan struct{}), until: time.Now()}
		if first, second := over.wait(t.Context(), b), over.wait(t.Context(), b); !first || second {
			t.Errorf("%+v: reported %v, then %v; want true, then false", s, first, second)
		}
		waiting := &links{done: make(chan struct{}), until: time.Now().Add(time.Hour)}
		go close(waiting.done)
		if waiting.wait(t.Context(), b) {
			t.Errorf("%+v: started without the links", s)
		}
		if new(links).wait(t.Context(), b) || (*links)(nil).wait(t.Context(), b) {
			t.Errorf("%+v: wait returns true without links", s)
		}
	}
}
