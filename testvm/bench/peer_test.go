package bench

import (
	"strings"
	"testing"
)

// The table has each figure of both inits on each processor, and the ratio.
func TestWriteBeside(t *testing.T) {
	report := func(name, processor string, value float64) *Report {
		return &Report{Name: name, Processor: processor, Figures: []Figure{
			{Name: "power off", Unit: "s", Value: value}, {Name: "memory in use", Unit: "B", Value: value * 100e6}}}
	}
	var b strings.Builder
	WriteBeside(&b, []Beside{
		{Peer: report("other", "qemu64", 2), Own: report("keelson", "qemu64", 0.5)},
		{Peer: report("other", "max", 3), Own: report("keelson", "max", 0)},
	})
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"", "keelson beside other, virtual time",
		"qemu64: other keelson ratio max: other keelson ratio",
		"power off 2.000 s 0.500 s 4.00 3.000 s 0.000 s -",
		"memory in use 200.0 MB 50.0 MB 4.00 300.0 MB 0.0 MB -",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if WriteBeside(&b, nil); b.Len() > 0 {
		t.Errorf("without a peer: %q", b.String())
	}
}
