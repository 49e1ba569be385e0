package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/cmdline"
)

// container returns a container with annotations, each given as KEY=VALUE without prefix.
func container(t *testing.T, annotations ...string) *bundle.Bundle {
	t.Helper()
	all := map[string]string{}
	for _, a := range annotations {
		key, value, _ := strings.Cut(a, "=")
		all["keelson."+key] = value
	}
	b := &bundle.Bundle{Spec: &specs.Spec{Annotations: all}}
	b.Settings, b.Warnings = bundle.ParseSettings(all)
	return b
}

const ms = time.Millisecond

func TestAfter(t *testing.T) {
	for _, tt := range []struct {
		line        string
		annotations []string
		attempt     int
		ok          bool
		want        Decision
	}{
		{"", nil, 1, true, Decision{Action: Next}},
		{"keelson.onboot=reboot", []string{"on-failure=halt", "retries=3"}, 1, true, Decision{Action: Next}},
		{"", []string{"retries=3"}, 2, true, Decision{Action: Next, Words: "it took 2 attempts"}},

		{"", nil, 1, false, Decision{Action: Next, Words: "continuing (by default)"}},
		{"", []string{"on-failure=continue"}, 1, false, Decision{Action: Next, Words: "continuing (keelson.on-failure=continue)"}},
		{"", []string{"on-failure=rescue"}, 1, false, Decision{Action: Rescue, Words: "rescue (keelson.on-failure=rescue)"}},
		{"", []string{"on-failure=reboot"}, 1, false, Decision{Action: Reboot, Words: "rebooting (keelson.on-failure=reboot)"}},
		{"", []string{"on-failure=poweroff"}, 1, false, Decision{Action: PowerOff, Words: "powering off (keelson.on-failure=poweroff)"}},
		{"", []string{"on-failure=halt"}, 1, false, Decision{Action: Halt, Words: "halting (keelson.on-failure=halt)"}},
		{"", []string{"on-failure=panic"}, 1, false, Decision{Action: Next, Words: "continuing (by default)"}},

		// The default of the command line, and which setting wins.
		{"keelson.onboot=halt", nil, 1, false, Decision{Action: Halt, Words: "halting (keelson.onboot=halt)"}},
		{"keelson.onboot=halt", []string{"on-failure=continue"}, 1, false, Decision{Action: Next, Words: "continuing (keelson.on-failure=continue)"}},
		{"keelson.onboot=halt", []string{"on-failure=panic"}, 1, false, Decision{Action: Halt, Words: "halting (keelson.onboot=halt)"}},
		{"keelson.onboot=halt keelson.onboot=reboot", nil, 1, false, Decision{Action: Reboot, Words: "rebooting (keelson.onboot=reboot)"}},
		{"keelson.rescue=failure", []string{"on-failure=reboot"}, 1, false, Decision{Action: Rescue, Words: "rescue (keelson.rescue=failure)"}},
		{"keelson.rescue=failure", nil, 1, true, Decision{Action: Next}},

		// Attempts.
		{"", []string{"retries=2"}, 1, false, Decision{Retry, 100 * ms, "attempt 2 of 3 in 100ms (keelson.retries=2)"}},
		{"", []string{"retries=2", "restart.delay=3s"}, 2, false, Decision{Retry, 6 * time.Second, "attempt 3 of 3 in 6s (keelson.retries=2)"}},
		{"", []string{"retries=2", "on-failure=reboot"}, 3, false, Decision{Action: Reboot, Words: "3 attempts failed, rebooting (keelson.on-failure=reboot)"}},
		{"", []string{"retries=2", "on-failure=rescue"}, 7, false, Decision{Action: Rescue, Words: "7 attempts failed, rescue (keelson.on-failure=rescue)"}},
		{"keelson.onboot=retries=1", nil, 1, false, Decision{Retry, 100 * ms, "attempt 2 of 2 in 100ms (keelson.retries=1)"}},
		{"keelson.onboot=retries=1", []string{"retries=0"}, 1, false, Decision{Action: Next, Words: "continuing (by default)"}},

		// The command line forbids rescue.
		{"keelson.rescue=off", []string{"on-failure=rescue"}, 1, false,
			Decision{Action: Wait, Words: "waiting to be rebooted, powered off or halted (keelson.on-failure=rescue, keelson.rescue=off)"}},
		{"keelson.rescue=reboot", []string{"on-failure=rescue"}, 1, false, Decision{Action: Reboot, Words: "rebooting (keelson.on-failure=rescue, keelson.rescue=reboot)"}},
		{"keelson.rescue=continue keelson.onboot=rescue", nil, 1, false, Decision{Action: Next, Words: "continuing (keelson.onboot=rescue, keelson.rescue=continue)"}},
		{"keelson.rescue=off", []string{"on-failure=halt"}, 1, false, Decision{Action: Halt, Words: "halting (keelson.on-failure=halt)"}},
	} {
		c, errs := ParseCommandLine(cmdline.Parse(tt.line))
		rules, _ := c.Rules(container(t, tt.annotations...))
		if got := After(tt.ok, tt.attempt, rules); got != tt.want || len(errs) != 0 {
			t.Errorf("%q %q attempt %d: got %+v, want %+v (%v)", tt.line, tt.annotations, tt.attempt, got, tt.want, errs)
		}
	}
}

// A bundle that cannot be read gets the policy of the command line and one attempt.
func TestBrokenBundle(t *testing.T) {
	c, _ := ParseCommandLine(cmdline.Parse("keelson.onboot=reboot,retries=5"))
	rules, _ := c.Rules(nil)
	if got := After(false, 1, rules); got != (Decision{Action: Reboot, Words: "rebooting (keelson.onboot=reboot)"}) {
		t.Errorf("%+v", got)
	}
}

func TestParseCommandLine(t *testing.T) {
	onboot := func(policy string, timeout time.Duration, retries int) func(*CommandLine) {
		return func(c *CommandLine) { c.Base.OnFailure, c.Base.Timeout, c.Base.Retries = policy, timeout, retries }
	}
	instead := func(a Action, said string) func(*CommandLine) {
		return func(c *CommandLine) { c.Instead, c.instead = a, "keelson.rescue="+said }
	}
	first := func(c *CommandLine) { c.First = true }
	always := func(c *CommandLine) { c.Always = true }
	nothing := func(*CommandLine) {}
	for _, tt := range []struct {
		line string
		want func(*CommandLine)
		bad  string // part of the only error
	}{
		{"quiet", nothing, ""},
		{"keelson.onboot=rescue", onboot("rescue", 0, 0), ""},
		{"keelson.onboot=rescue,timeout=90s,retries=2", onboot("rescue", 90*time.Second, 2), ""},
		{"keelson.onboot=timeout=90s", onboot("", 90*time.Second, 0), ""},
		{"keelson.onboot=panic", nothing, `"panic"`},
		{"keelson.onboot", nothing, `""`},
		{"keelson.onboot=reboot,timeout=soon", onboot("reboot", 0, 0), `"soon"`},
		{"keelson.onboot=restart=always", nothing, `"restart=always"`},
		{"keelson.onboot=on-failure=halt", nothing, `"on-failure=halt"`},

		{"keelson.rescue", first, ""}, {"keelson.rescue=1", first, ""}, {"keelson.rescue=on", first, ""},
		{"keelson.rescue=failure", always, ""},
		{"keelson.rescue=off", instead(Wait, "off"), ""}, {"keelson.rescue=0", instead(Wait, "0"), ""}, {"keelson.rescue=wait", instead(Wait, "wait"), ""},
		{"keelson.rescue=continue", instead(Next, "continue"), ""}, {"keelson.rescue=poweroff", instead(PowerOff, "poweroff"), ""},
		{"keelson.rescue=halt", instead(Halt, "halt"), ""},
		{"keelson.rescue keelson.rescue=off", instead(Wait, "off"), ""},
		{"keelson.rescue=off keelson.rescue", func(c *CommandLine) { c.First, c.instead = true, "keelson.rescue=off" }, ""},
		{"keelson.loglevel=debug keelson.poweroff=off keelson_other=1", nothing, ""},
		{"keelson.programs=image keelson.boots=3,size=8MiB", nothing, ""},
		{"keelson.nofile=1048576", nothing, ""},
		{"keelson.pressure=on", nothing, ""}, {"keelson.pressure=30%/10s", nothing, ""}, {"keelson.pressure", nothing, `""`}, {"keelson.pressure=30", nothing, `"30"`},
		{"keelson.reserve=64MiB", nothing, ""}, {"keelson.reserve=off", nothing, ""}, {"keelson.reserve=on", nothing, ""}, {"keelson.reserve=all", nothing, `"all"`},
		{"keelson.watchdog=60s", nothing, ""}, {"keelson.watchdog=off", nothing, ""}, {"keelson.watchdog=60", nothing, `"60"`},
		{"keelson.boots=many", nothing, `"many"`}, {"keelson.programs=other", nothing, `"other"`},
		{"keelson.loglevel=loud", nothing, `"loud"`}, {"keelson.loglevel", nothing, `""`},
		{"keelson.poweroff=on", nothing, `"on"`}, {"keelson.poweroff=", nothing, `""`},
		{"keelson.onbot=reboot", nothing, "keelson.onbot"}, {"keelson.on-boot=reboot", nothing, "keelson.on-boot"},
		{"keelson.rescue=rescue", nothing, `"rescue"`}, {"keelson.rescue=shell", nothing, `"shell"`},
	} {
		want := Silent()
		tt.want(&want)
		got, errs := ParseCommandLine(cmdline.Parse(tt.line))
		if !reflect.DeepEqual(got, want) || (tt.bad == "") != (len(errs) == 0) || len(errs) > 0 && (len(errs) > 1 || !strings.Contains(errs[0].Error(), tt.bad)) {
			t.Errorf("%q: got %+v, %v; want %+v", tt.line, got, errs, want)
		}
	}
}

func TestForShutdown(t *testing.T) {
	for annotation, word := range map[string]string{"": "by default", "on-failure=continue": "keelson.on-failure=continue", "on-failure=rescue": "at shutdown", "on-failure=reboot": "at shutdown"} {
		rules, err := ForShutdown(container(t, annotation, "retries=1"))
		if (err != nil) != (word == "at shutdown") || err != nil && !strings.Contains(err.Error(), annotation) {
			t.Errorf("%s: %v", annotation, err)
		}
		if got := After(false, 2, rules); got.Action != Next || !strings.Contains(got.Words, word) {
			t.Errorf("%s: %+v", annotation, got)
		}
		if got := After(false, 1, rules); got.Action != Retry {
			t.Errorf("%s: %+v", annotation, got)
		}
	}
}

func FuzzParseCommandLine(f *testing.F) {
	f.Add("keelson.onboot=rescue,timeout=90s,retries=2 keelson.rescue")
	f.Add("keelson.onboot=,,= keelson.rescue=off")
	f.Fuzz(func(t *testing.T, text string) {
		c, _ := ParseCommandLine(cmdline.Parse(text))
		rules, s := c.Rules(nil)
		if d := After(false, 1, rules); s.Timeout < 0 || d.Pause < 0 || d.Words == "" || c.First && c.Instead != Rescue {
			t.Errorf("%q: %+v, %+v", text, c, d)
		}
	})
}
