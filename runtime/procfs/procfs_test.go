package procfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for text, want := range map[string]Stat{
		"4711 (web) S 1 4711 4711 0 -1": {'S', 1},
		"10 (a) Z) R 7 10":              {'R', 7},
		"10 (a (b) c\n) Z 0 10":         {'Z', 0},
		"7 (x (y) z) ) S 0 0":           {'S', 0},
	} {
		if got, err := ParseStat([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ")", "10 (a)", "10 (a) S", "10 (a) S x", "10 (a) SS 1", "10 (a) S -1", "10 a S 1"} {
		if got, err := ParseStat([]byte(text)); err == nil {
			t.Errorf("%q is taken as %+v", text, got)
		}
	}
}

// The parent is found with every name of the process.
func FuzzParseStat(f *testing.F) {
	f.Add("bash", 17)
	f.Add("a) Z 1 (", 1)
	f.Fuzz(func(t *testing.T, name string, parent int) {
		text := fmt.Appendf(nil, "7 (%s) S %d 7 7 0 -1", name, parent)
		if got, err := ParseStat(text); (err == nil) != (parent >= 0) || err == nil && got != (Stat{'S', parent}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		_, _ = ParseStat([]byte(name))
	})
}

func TestCPUTime(t *testing.T) {
	got, err := ParseCPUTime([]byte("7 (a) 1 2) S 1 7 7 0 -1 4194304 1 0 0 0 150 25 9 9 20 0"))
	if err != nil || got != 1750*time.Millisecond {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194304 1 0 0 0 -1 25", "7 (a) S 1 7 7 0 -1 4194304 1 0 0 0 1 x"} {
		if got, err := ParseCPUTime([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	if _, err := ReadCPUTime("/proc", os.Getpid()); err != nil {
		t.Error(err)
	}
}

func FuzzParseCPUTime(f *testing.F) {
	f.Add([]byte("7 (a) S 1 7 7 0 -1 4194304 1 0 0 0 150 25"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, _ := ParseCPUTime(text); got < 0 {
			t.Errorf("%q: %v", text, got)
		}
	})
}

func TestParseStart(t *testing.T) {
	const stat = "7 (a) 1 2) S 1 7 7 0 -1 4194304 1 0 0 0 150 25 9 9 20 0 1 0 12345 9000 10"
	if got, err := ParseStart([]byte(stat)); err != nil || got != 12345 {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", ")", stat[:40], strings.Replace(stat, "12345", "-1", 1)} {
		if got, err := ParseStart([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	first, err := ReadStart("/proc", os.Getpid())
	if again, err2 := ReadStart("/proc", os.Getpid()); err != nil || err2 != nil || first != again || first == 0 {
		t.Errorf("%d, %v, then %d, %v", first, err, again, err2)
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add([]byte("7 (a) S 1 7 7 0 -1 4194304 1 0 0 0 150 25 9 9 20 0 1 0 12345 9000 10"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := ParseStart(text); err != nil && got != 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	})
}

func TestStatusField(t *testing.T) {
	const status = "Name:\ta: b\nUmask:\t0022\nPPid:\t12\nSigCgt:\t0000000000004002\nNSpid:\t7\t1\nempty\n"
	for key, want := range map[string]string{"Name": "a: b", "PPid": "12", "NSpid": "7\t1", "empty": "", "Pid": "", "": ""} {
		if got := StatusField(status, key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func TestEnded(t *testing.T) {
	if Ended("/proc", os.Getpid()) {
		t.Error("this process has ended")
	}
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if s, err := ReadStat("/proc", pid); err != nil || s.Parent != os.Getpid() || Ended("/proc", pid) {
		t.Errorf("a child: %+v, %v", s, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); !Ended("/proc", pid); time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("a zombie has not ended")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !Ended("/proc", pid) {
		t.Error("a process that is gone has not ended")
	}
}

// A process whose first thread has ended lives as long as another does.
func TestEndedThreads(t *testing.T) {
	proc := t.TempDir()
	for file, text := range map[string]string{
		"10/stat": "10 (a) Z) S 1 10", "11/stat": "11 (sleep) Z 1 11", "12/stat": "12 (java) Z 1 12",
		"11/task/11/stat": "", "12/task/12/stat": "", "12/task/13/stat": "",
	} {
		path := filepath.Join(proc, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for pid, want := range map[int]bool{10: false, 11: true, 12: false, 13: true} {
		if Ended(proc, pid) != want {
			t.Errorf("process %d: want %v", pid, want)
		}
	}
}
