package procfs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseCgroup(t *testing.T) {
	got := ParseCgroup("12:pids,cpu:/a:b\n3:name=systemd:/\nno line\n1:x\n0::/a b \n0::")
	want := []Cgroup{{"12", "pids,cpu", "/a:b"}, {"3", "name=systemd", "/"}, {"0", "", "/a b "}, {"0", "", ""}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !got[0].Has("cpu") || got[0].Has("memory") || got[0].V2() || !got[2].V2() {
		t.Error("wrong controllers or version")
	}
}

func TestReadCgroup(t *testing.T) {
	all, err := ReadCgroup("/proc", os.Getpid())
	if err != nil || len(all) == 0 || !strings.HasPrefix(all[0].Path, "/") {
		t.Errorf("this process: %+v, %v", all, err)
	}
	if _, err := ReadCgroup(t.TempDir(), 1); !Gone(err) {
		t.Errorf("a process that does not exist: %v", err)
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("12:pids,cpu:/a:b\n0::/\n")
	f.Add("::\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		var lines []string
		for _, c := range ParseCgroup(text) {
			lines = append(lines, c.Hierarchy+":"+c.Controllers+":"+c.Path)
		}
		again := strings.Join(lines, "\n")
		if strings.Count(text, "\n")+1 < len(lines) || len(ParseCgroup(again)) != len(lines) {
			t.Fatalf("%q is parsed as %q", text, lines)
		}
	})
}
