package tests

import (
	"strings"
	"testing"

	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// failing is an image whose second onboot container fails.
const failing = `
onboot:
  - name: good
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "0"]
    readonly: true
  - name: bad
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "3"]
    readonly: true
  - name: never
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "0"]
    readonly: true
services:
  AGENT
`

// When an onboot container fails, the machine ends as the command line says, and no other
// container starts.
func TestOnbootPolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]vm.Exit{"reboot": vm.Rebooted, "poweroff": vm.PoweredDown, "halt": vm.Halted} {
		t.Run(policy, func(t *testing.T) {
			if policy != "halt" {
				tier.Long(t)
			}
			m := machine(t, build(t, "failing", failing))
			m.Append += " quiet keelson.onboot=" + policy
			v := vmtest.Boot(t, m)
			v.Exit(want)
			var got []string
			for _, e := range v.Timeline() {
				if e.Stage == "onboot" || e.Stage == "service" || e.Stage == "ready" {
					got = append(got, strings.TrimSpace(e.Name+" "+strings.SplitN(e.Result, ":", 2)[0]))
				}
				if e.Name == "001-bad" && !strings.Contains(e.Note, "(keelson.onboot="+policy+")") {
					t.Errorf("the event does not give the reason: %v", e)
				}
			}
			if strings.Join(got, ", ") != "000-good exited 0, 001-bad exited 3, all failed" {
				t.Errorf("events %q", got)
			}
		})
	}
}

// The power button works while an onboot container hangs.
func TestPowerButtonWhileBooting(t *testing.T) {
	t.Parallel()
	const hangs = `
onboot:
  - name: hangs
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
services:
  AGENT
`
	v := vmtest.Boot(t, machine(t, build(t, "hangs", hangs)))
	v.Stage("volumes")
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
}
