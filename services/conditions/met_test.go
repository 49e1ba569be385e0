package conditions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/condition"
)

const (
	routes4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	zeros   = "00000000000000000000000000000000"
)

func TestDefaultRoute(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, routes4: false,
		routes4 + "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n": true,
		routes4 + "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n": false,
		routes4 + "eth0\t00000000\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n": false, // 0.0.0.0/8
		routes4 + "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n":    false, // unreachable
		routes4 + "eth0\t00000000\t0202000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n": false, // not up
		routes4 + "eth0\t00000000": false,
	} {
		if got := defaultRoute4(strings.NewReader(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for text, want := range map[string]bool{
		"": false,
		zeros + " 00 " + zeros + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n":      true,
		zeros + " 00 " + zeros + " 00 " + zeros + " ffffffff 00000001 00000000 00200200       lo\n":                         false,
		zeros + " 00 " + zeros + " 00 " + zeros + " 00000400 00000001 00000000 00000201     eth0\n":                         false,
		"fe800000000000000000000000000000 40 " + zeros + " 00 " + zeros + " 00000100 00000001 00000000 00000001     eth0\n": false,
	} {
		if got := defaultRoute6(strings.NewReader(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzDefaultRoute(f *testing.F) {
	f.Add(routes4 + "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	f.Fuzz(func(t *testing.T, text string) {
		if defaultRoute4(strings.NewReader(text)) && !strings.Contains(text, "00000000") || defaultRoute6(strings.NewReader(text)) && !strings.Contains(text, zeros) {
			t.Errorf("%q has a default route", text)
		}
	})
}

func TestLook(t *testing.T) {
	clock, path := condition.Condition{Kind: condition.Clock}, condition.Condition{Kind: condition.Path, Arg: "/x"}
	state := map[condition.Condition]bool{path: true}
	met := func(c condition.Condition) bool { return state[c] }
	last := look([]condition.Condition{clock, path}, nil, met)
	if last[clock] || !last[path] || len(last) != 2 {
		t.Error(last)
	}
	state[clock] = true
	last = look([]condition.Condition{clock, path}, last, met)
	clear(state)
	last = look([]condition.Condition{clock, path}, last, met)
	if !last[clock] || last[path] {
		t.Errorf("a clock that was synchronised: %v", last)
	}
}

func TestMet(t *testing.T) {
	for text, want := range map[string]bool{
		"device:/dev/null": true, "device:/etc/passwd": false, "device:/dev/none": false, "mount:/proc": true, "mount:/etc": false,
		"path:/etc/passwd": true, "path:/none/passwd": false, "net:none0": false,
	} {
		c, err := condition.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := met(c); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestNamesServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if namesServer(file) {
		t.Error("a file that is missing")
	}
	for text, want := range map[string]bool{
		"": false, "# nameserver 192.0.2.1\n": false, "domain example.org\nnameserver\n": false,
		"search a b\n nameserver 192.0.2.1": true, "nameserver\t2001:db8::1\n": true,
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := namesServer(file); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
