package session_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

func TestFindImage(t *testing.T) {
	dir := t.TempDir()
	if _, err := session.FindImage(dir); err == nil {
		t.Error("an empty folder holds an image")
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("demo-kernel", "k")
	write("demo-initrd.img", "i")
	write("demo-cmdline", "quiet\n")
	for _, prefix := range []string{dir, filepath.Join(dir, "demo")} {
		i, err := session.FindImage(prefix)
		if err != nil || i.Cmdline != "quiet" || filepath.Base(i.Initrd) != "demo-initrd.img" {
			t.Errorf("%s: %+v, %v", prefix, i, err)
		}
	}
	write("other-kernel", "k")
	if _, err := session.FindImage(dir); err == nil || !strings.Contains(err.Error(), "2 images") {
		t.Errorf("two images: %v", err)
	}
	if i, err := session.FindImage(filepath.Join(dir, "other")); err != nil || i.Initrd != "" {
		t.Errorf("an image without initrd: %+v, %v", i, err)
	}
}

func TestUnattended(t *testing.T) {
	cases := []struct {
		do, until string
		timeout   time.Duration
		want      error
		output    string
	}{
		{"ready", session.UntilReady, time.Minute, nil, "powered itself down"},
		{"poweroff", session.UntilShutdown, time.Minute, nil, "AT"},
		{"degraded", session.UntilReady, time.Minute, vm.ErrStage, "failed: broken"},
		{"panic", session.UntilShutdown, time.Minute, vm.ErrPanic, "Kernel panic"},
		{"hang", session.UntilReady, 5 * time.Second, context.DeadlineExceeded, "kernel"},
	}
	for _, c := range cases {
		t.Run(c.do, func(t *testing.T) {
			var out bytes.Buffer
			err := session.Run(t.Context(), session.Options{
				VM: vmtest.Tiny(t, c.do), Until: c.until, Timeout: c.timeout, Stdout: &out,
			})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(out.String(), c.output) {
				t.Errorf("printed no %q:\n%s", c.output, out.String())
			}
		})
	}
}

// ctrl-C powers the guest off, and says that it never got ready.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var out bytes.Buffer
	o := session.Options{VM: vmtest.Tiny(t, "unready"), Until: session.UntilReady, Timeout: time.Minute,
		Stdout: onText{&out, "waiting for the power button", interrupt}}
	err := session.Run(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "reboot: Power down") {
		t.Errorf("the guest did not power down:\n%s", out.String())
	}
}

// onText calls f when text has been written.
type onText struct {
	*bytes.Buffer
	text string
	f    func()
}

func (o onText) Write(p []byte) (int, error) {
	n, err := o.Buffer.Write(p)
	if strings.Contains(o.String(), o.text) {
		o.f()
	}
	return n, err
}
