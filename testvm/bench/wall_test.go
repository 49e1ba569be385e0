package bench

import (
	"bytes"
	"strings"
	"testing"

	"keelson/testvm/qemu"
)

// The table has the medians, and the median of the ratios of rounds, not the ratio of medians.
func TestWallTable(t *testing.T) {
	run, err := Parse(console)
	if err != nil {
		t.Fatal(err)
	}
	run.Idle = 0
	slow, slower := run, run
	slow.PowerOff *= 2
	slower.PowerOff *= 8
	w := &Wall{Accel: qemu.TCG, Names: []string{"own", "other"}, Runs: [][]Run{{slow, slower, run}, {run, run, run}}}
	var out bytes.Buffer
	w.WriteTable(&out)
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "power off") && strings.Join(strings.Fields(line), " ") != "power off 0.500 s 0.250 s 2.00" {
			t.Errorf("power off: %q", line)
		}
	}
	for _, want := range []string{"power off", "kernel to 3rd service  1.700 s", "tcg", "3 rounds"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q:\n%s", want, out.String())
		}
	}
}

func TestMicroVMYAML(t *testing.T) {
	yaml, err := MicroVMYAML("root", "kernel")
	if err != nil || !strings.Contains(string(yaml), "/kernel\n  tar: none\n") || strings.Contains(string(yaml), "deb:linux") {
		t.Errorf("%v:\n%s", err, yaml)
	}
}
