package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/services/sockets/offer"
)

func TestAddSockets(t *testing.T) {
	offers = t.TempDir()
	defer func() { offers = offer.Dir }()
	const args = "runc --root /run/containerd/runc/ns create --bundle b --pid-file p web"
	command := func(args string) *exec.Cmd { return &exec.Cmd{Args: strings.Fields(args)} }
	c := command(args)
	if err := addSockets(c, stateDir(c.Args, "create")); err != nil || len(c.ExtraFiles) > 0 || strings.Join(c.Args, " ") != args {
		t.Errorf("without an offer: %v, %v", err, c.Args)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	o, err := offer.New(offers, "ns", "web", []*os.File{r, w})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := addSockets(c, stateDir(c.Args, "create")); err != nil {
		t.Fatal(err)
	}
	const want = "runc --root /run/containerd/runc/ns create --bundle b --pid-file p --preserve-fds 2 web"
	if got := strings.Join(c.Args, " "); got != want || len(c.ExtraFiles) != 2 {
		t.Errorf("%s with %v", got, c.ExtraFiles)
	}
	var a, b unix.Stat_t
	if err := unix.Fstat(int(c.ExtraFiles[1].Fd()), &a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fstat(int(w.Fd()), &b); err != nil || a.Ino != b.Ino {
		t.Errorf("another file: %v", err)
	}
	closeFiles(c.ExtraFiles)
	c = command(strings.Replace(args, "/ns", "/ns2", 1))
	if err := addSockets(c, stateDir(c.Args, "create")); err == nil {
		t.Error("a container in another namespace is started without its sockets")
	}
}
