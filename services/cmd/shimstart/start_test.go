package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The shim gets its arguments, its socket as descriptor 3, and no more processors than
// there are.
func TestSpawn(t *testing.T) {
	defer func(before string) { shim = before }(shim)
	dir := t.TempDir()
	shim = filepath.Join(dir, "shim")
	script := "#!/bin/sh\necho \"$0 $*\"\necho GOMAXPROCS=$GOMAXPROCS\necho OTEL_SERVICE_NAME=$OTEL_SERVICE_NAME\n"
	if err := os.WriteFile(shim, []byte("#!/bin/sh\nexec /bin/sh "+shim+".sh \"$@\" >&3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shim+".sh", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	pid, err := spawn("self", params{id: "web", namespace: "ns", address: "/a"}, int(out.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status != 0 {
		t.Fatalf("status %v, %v", status, err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		shim + ".sh -namespace ns -id web -address /a",
		"GOMAXPROCS=" + strconv.Itoa(min(2, runtime.NumCPU())),
		"OTEL_SERVICE_NAME=containerd-shim-web",
	}
	if got := strings.Split(strings.TrimSpace(string(text)), "\n"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
