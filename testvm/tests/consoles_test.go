package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// Every console of the command line gets every message and the greeting: a serial line,
// a virtual terminal, and a console whose driver is a module that is loaded after the
// first messages.
func TestConsoles(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	dir := overlay(t, "consoles-root", map[string]string{"etc/issue": "Welcome aboard\n"})
	c := machine(t, build(t, "consoles", "services:\n  AGENT\n", dir))
	c.Append = strings.Replace(c.Append, "console=ttyS0", "quiet console=tty1 console=hvc0 console=ttyS0", 1)
	c.VirtConsole = filepath.Join(t.TempDir(), "hvc0")
	v := vmtest.Boot(t, c)
	ready := onScreen(v.Stage(timeline.Ready))
	var screen string
	until(t, func() string { // Each console is written to independently of the others.
		if screen = v.Output("/bin/busybox", "cat", "/dev/vcs1"); !strings.Contains(screen, ready) {
			return fmt.Sprintf("tty1 does not show %q:\n%s", ready, screen)
		}
		return ""
	})
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
	hvc, err := os.ReadFile(c.VirtConsole)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"ttyS0": v.Console(), "hvc0": string(hvc), "tty1": screen} {
		if !strings.Contains(text, "Welcome aboard") {
			t.Errorf("%s does not show /etc/issue:\n%s", name, text)
		}
	}
	up := true
	for _, e := range v.Timeline() {
		if !strings.Contains(string(hvc), e.String()) {
			t.Errorf("hvc0 does not show %q:\n%s", e, hvc)
		}
		// The screen was read when the system was ready.
		if up && !strings.Contains(screen, onScreen(e)) {
			t.Errorf("tty1 does not show %q:\n%s", e, screen)
		}
		up = up && e.Stage != timeline.Ready
	}
}

// onScreen returns the beginning of an event, which is on one line of a screen of 80
// columns.
func onScreen(e timeline.Event) string {
	text := e.String()
	return text[:min(60, len(text))]
}
