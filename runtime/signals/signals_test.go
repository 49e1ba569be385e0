package signals

import (
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"SIGTERM": 15, "term": 15, "INT": 2, "15": 15, "1": 1, "64": 64, "SIGRTMIN": 34, "rtmin+3": 37,
		"SIGRTMIN+30": 64, "RTMAX": 64, "SIGRTMAX-30": 34,
	} {
		if got, ok := Parse(text); !ok || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "65", "256", "SIG", "SIGNOTHING", "SIGRTMIN+31", "SIGRTMIN-1", "SIGRTMIN+",
		"SIGRTMIN+x", "SIGRTMAX+1", "SIGRTMAX-31"} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func TestName(t *testing.T) {
	for s, want := range map[syscall.Signal]string{15: "SIGTERM", 9: "SIGKILL", 37: "signal 37", 0: "signal 0"} {
		if got := Name(s); got != want {
			t.Errorf("%d: %q, want %q", s, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("SIGRTMIN+3")
	f.Add("kill")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := Parse(text)
		if !ok {
			return
		}
		if s < 1 || s > 64 {
			t.Fatalf("%q is signal %d", text, s)
		}
		if again, ok := Parse(Name(s)); s < 32 && (!ok || again != s) {
			t.Fatalf("%d is named %s, which is %d", s, Name(s), again)
		}
	})
}
