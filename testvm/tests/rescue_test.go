package tests

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// person types on a machine's console and reads the output.
type person struct {
	*vmtest.VM
	t *testing.T
}

func (p person) types(text, wants string) {
	p.t.Helper()
	if _, err := p.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
	p.Line(wants)
}

// prompted waits for a prompt after a text: input that is typed before the prompt is not an
// answer.
func (p person) prompted(after string) {
	p.t.Helper()
	for ctx := vmtest.Context(p.t); ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		console := p.Console()
		if i := strings.LastIndex(console, after); i >= 0 && strings.Contains(console[i:], "rescue> ") {
			return
		}
	}
	p.t.Fatalf("no prompt after %q:\n%s", after, p.Console())
}

// The rescue prompt works on the serial line, in an image without a shell: it shows what
// failed, only an answer ends it, and the boot continues.
func TestRescuePrompt(t *testing.T) {
	t.Parallel()
	m := machine(t, build(t, "failing", failing))
	m.Append += " quiet keelson.onboot=rescue"
	p := person{vmtest.Boot(t, m), t}
	p.Line(`^rescue> `)
	p.types("list\r", `001-bad +exited 3; rescue \(keelson.onboot=rescue\)`)
	p.Line(`002-never +to come`)
	p.types("log bad\r", `001-bad wrote nothing`)
	p.types("half a line\x03\x04", `To leave the prompt`)
	p.types("\x1b[A\xff\x00\r", `no such command`)
	p.types("dmesg 20\r", `^\[ +\d+\.\d+\] `)
	p.types("retry\r", `2 attempts failed, rescue`)
	p.prompted(`2 attempts failed, rescue`)
	p.types("continue\r", `onboot 002-never: exited 0`)
	p.Stage(timeline.Ready)
	if out := p.File("/run/keelson/onboot/001-bad.json"); !regexp.MustCompile(`"attempts":2,.*then continuing"`).MatchString(out) {
		t.Errorf("result %s", out)
	}
	p.SignalInit(sigUSR2)
	p.Exit(vm.PoweredDown)
}

// rescueShell is an image with a rescue shell as in docs/supervision.md.
const rescueShell = `
onboot:
  - name: good
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "0"]
    readonly: true
services:
  AGENT
  - name: rescue
    image: deb:busybox-static
    command: ["/bin/busybox", "sh"]
    env: ["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=vt102", "PS1=shell# "]
    net: host
    pid: host
    ipc: host
    capabilities: [all]
    binds: ["/:/host", "/dev:/dev"]
    devices: [{path: all, type: b}, {path: all, type: c}]
    annotations:
      keelson.role: rescue
`

// keelson.rescue opens the image's shell before the first onboot container. It has job
// control and the host's root. When it ends, the prompt follows, which can start it again.
// The power button works meanwhile.
func TestRescueShell(t *testing.T) {
	t.Parallel()
	m := machine(t, build(t, "rescue-shell", rescueShell))
	m.Append += " quiet keelson.rescue"
	p := person{vmtest.Boot(t, m), t}
	p.Line(`shell# `)
	p.types("case $- in *m*) echo has=jobs$((1));; esac\r", `has=jobs1`)
	p.types("ls /host/containers/onboot; ls /host/proc | wc -l\r", `^000-good`)
	p.types("tty; echo pid=$$ $(cat /host/proc/1/comm)\r", `pid=\d+ init`)
	p.types("echo 1 >/host/tmp/written; cat /host/tmp/writ*; sh -c 'echo sleeps=$((1)); exec sleep 1000'\r", `sleeps=1`)
	p.types("\x03echo gone=$?\r", `gone=130`)
	p.types("exit 5\r", `rescue shell has ended.*exited 5`)
	p.Line(`^rescue> `)
	p.types("shell\r\recho again=$((1))\r", `again=1`)
	if err := p.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// The answer reboot reboots the machine.
func TestRescueReboots(t *testing.T) {
	t.Parallel()
	m := plain(t)
	m.Append += " quiet keelson.rescue=on"
	p := person{vmtest.Boot(t, m), t}
	p.Line(`^rescue> `)
	p.types("list\r", `no onboot containers`)
	p.types("reboot\r", `shutdown: reboot`)
	p.Exit(vm.Rebooted)
}
