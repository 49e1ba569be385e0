package containerd

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	runtime "github.com/containerd/containerd/v2/core/runtime/v2"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
		"12":   "", // a kernel thread, or a zombie
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
	if got := shims(proc, socket, "ns", "web"); !reflect.DeepEqual(got, []int{7}) {
		t.Errorf("shims %v, want 7", got)
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
