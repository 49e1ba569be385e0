package containerd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	runtime "github.com/containerd/containerd/v2/core/runtime/v2"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"keelson/testvm/nstest"
)

func TestShimsByTheirArguments(t *testing.T) {
	proc := t.TempDir()
	const socket = "/run/containerd/containerd.sock"
	for pid, args := range map[string]string{
		"7":    "/usr/bin/containerd-shim-runc-v2 -namespace ns -id web -address " + socket,
		"8":    "/usr/bin/containerd-shim-runc-v2 -namespace ns -id -address " + socket,
		"9":    "/usr/bin/containerd-shim-runc-v2 -namespace other -id web -address " + socket,
		"10":   "/usr/bin/containerd-shim-runc-v2 -namespace ns -id web -address /elsewhere",
		"11":   "/bin/cat -namespace ns -id web -address " + socket,
		"13":   "/usr/bin/containerd-shim-runc-v2 -namespace ns -id web -address " + socket, // of a nested system
		"12":   "",                                                                          // a kernel thread, or a zombie
		"1":    "containerd-shim-runc-v2 -namespace ns -id web -address " + socket,
		"self": "containerd-shim-runc-v2 -namespace ns -id web -address " + socket,
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(args, " ", "\x00")
		if err := os.WriteFile(filepath.Join(proc, pid, "cmdline"), []byte(text+"\x00"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range []string{"7", "9", "12", "self"} {
		link(t, filepath.Join(proc, pid, "ns/mnt"), "mnt:[1]")
	}
	link(t, filepath.Join(proc, "13/ns/mnt"), "mnt:[2]")
	got, err := shims(proc, socket)
	slices.SortFunc(got, func(a, b shim) int { return a.pid - b.pid })
	if want := []shim{{7, "ns", "web"}, {9, "other", "web"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("shims %v, %v, want %v", got, err, want)
	}
}

func link(t *testing.T, path, target string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestLeftoverBundle(t *testing.T) {
	const path = "/run/containerd/io.containerd.runtime.v2.task/ns/web"
	for _, tt := range []struct{ text, want string }{
		{"mkdir " + path + ": file exists", path},
		{"failed: mkdir " + path + ": file exists: unknown", path},
		{"mkdir /run/x/io.containerd.runtime.v2.task/ns/web: file exists", "/run/x/io.containerd.runtime.v2.task/ns/web"},
		{"mkdir " + path + ": no space left on device", ""}, {"mkdir " + path + "2: file exists", ""},
		{"mkdir /x/../.." + path + ": file exists", ""}, {"mkdir " + path[1:] + ": file exists", ""}, {"mkdir ", ""}, {": file exists", ""},
	} {
		err := failed("cannot create task web", status.Error(codes.Unknown, tt.text))
		if got := leftoverBundle(err, "ns", "web"); got != tt.want {
			t.Errorf("%s: %q", tt.text, got)
		}
	}
	for _, err := range []error{nil, errors.New("mkdir " + path + ": file exists")} {
		if got := leftoverBundle(err, "ns", "web"); got != "" {
			t.Errorf("%v: %q, but no call of containerd failed with it", err, got)
		}
	}
}

// The message that leftoverBundle looks for is the one of containerd's own code.
func TestLeftoverBundleOfContainerd(t *testing.T) {
	state := filepath.Join(t.TempDir(), "io.containerd.runtime.v2.task")
	want := filepath.Join(state, "ns", "web")
	if err := os.MkdirAll(want, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := runtime.NewBundle(namespaces.WithNamespace(t.Context(), "ns"), t.TempDir(), state, "web", nil)
	err = failed("cannot create task web", errgrpc.ToGRPC(err))
	if got := leftoverBundle(err, "ns", "web"); got != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
}

func TestRemoveBundle(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"web/rootfs", ".web/rootfs", "web2"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeBundle(filepath.Join(dir, "web")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "web2" {
		t.Errorf("the folder has %v, want only web2", left)
	}
}

// What is mounted on the root of a bundle is unmounted, and not removed with the bundle.
func TestRemoveMountedBundle(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		root := filepath.Join(dir, "web/rootfs")
		if err := errors.Join(os.MkdirAll(root, 0o755), os.WriteFile(filepath.Join(other, "file"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := unix.Mount(other, root, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := removeBundle(filepath.Join(dir, "web")); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(other, "file")); err != nil {
			t.Errorf("a file of a mount was removed: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "web")); err == nil {
			t.Error("the bundle is left")
		}
	})
}
