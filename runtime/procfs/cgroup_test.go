package procfs

import (
	"fmt"
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

// This process, processes of other PID namespaces and a cgroup that is gone are left out.
func TestCgroupPIDs(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("0\n1\n17\n%d\n99\n", os.Getpid())
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := CgroupPIDs(dir); !slices.Equal(got, []int{17, 99}) {
		t.Errorf("the cgroup has %v, want 17 and 99", got)
	}
	if got := CgroupPIDs(dir + "/gone"); got != nil {
		t.Errorf("a cgroup that is gone has %v", got)
	}
}
