package powercut

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"keelson/testvm/qemu"
	"keelson/testvm/tier"
)

// memory is a disk in memory.
type memory []byte

func (m memory) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[at:], p), nil
}

// record appends an entry to a log.
func record(log []byte, sector, flags uint64, data string) []byte {
	head := make([]byte, 512)
	binary.LittleEndian.PutUint64(head, sector)
	binary.LittleEndian.PutUint64(head[8:], uint64(len(data)/512))
	binary.LittleEndian.PutUint64(head[16:], flags)
	return append(append(log, head...), data...)
}

func super() []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint64(b, magic)
	b[8], b[25] = version, 2
	return b
}

func sectors(c byte, n int) string { return string(bytes.Repeat([]byte{c}, n*512)) }

// The log has a write that is flushed, one of several units that is not, one with FUA, a
// hole, and a truncated one.
func TestReplay(t *testing.T) {
	log := record(super(), 0, 0, sectors('a', 1))
	log = record(log, 0, flagFlush, "")
	log = record(log, 7, 0, sectors('b', 10))
	log = append(log, make([]byte, 3*512)...)
	log = record(log, 40, flagFUA, sectors('c', 1))
	log = record(log, 41, flagDiscard, "")
	log = record(log, 48, 0, sectors('d', 2))
	log = log[:len(log)-1]
	for name, c := range map[string]struct {
		lose func() bool
		want map[int]byte // first byte of sectors
		sum  Summary
	}{
		"nothing is lost": {func() bool { return false }, map[int]byte{0: 'a', 7: 'b', 8: 'b', 15: 'b', 16: 'b', 17: 0, 40: 'c', 48: 0}, Summary{3, 1, 4, 0}},
		"all is lost":     {func() bool { return true }, map[int]byte{0: 'a', 7: 0, 8: 0, 16: 0, 40: 'c', 48: 0}, Summary{3, 1, 1, 3}},
		"some is lost":    {alternately(), map[int]byte{0: 'a', 7: 0, 8: 'b', 15: 'b', 16: 0, 40: 'c', 48: 0}, Summary{3, 1, 2, 2}},
	} {
		disk := make(memory, 64*512)
		sum, err := Replay(disk, bytes.NewReader(log), c.lose)
		if err != nil || sum != c.sum {
			t.Errorf("%s: %+v, %v, want %+v", name, sum, err, c.sum)
		}
		for sector, want := range c.want {
			if got := disk[sector*512]; got != want {
				t.Errorf("%s: sector %d holds %q, want %q", name, sector, got, want)
			}
		}
	}
}

// alternately loses every other unit, starting with the first.
func alternately() func() bool {
	var lose bool
	return func() bool { lose = !lose; return lose }
}

// A log has no super block before the first flush, and is empty before the first write.
func TestReplayOfTheBeginning(t *testing.T) {
	for want, log := range map[int][]byte{0: nil, 1: record(make([]byte, 512), 0, 0, sectors('a', 1))} {
		sum, err := Replay(make(memory, 512), bytes.NewReader(log), func() bool { return false })
		if err != nil || sum != (Summary{Writes: want, Kept: want}) {
			t.Errorf("%+v, %v", sum, err)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	for name, log := range map[string][]byte{
		"truncated super block": super()[:20],
		"another format":        bytes.Repeat([]byte{'x'}, 1024),
		"unknown flags":         record(super(), 0, 1<<40, sectors('x', 1)),
		"position too large":    record(super(), 1<<60, 0, sectors('x', 1)),
		"beyond the disk":       record(super(), 99, 0, sectors('x', 1)),
	} {
		if _, err := Replay(make(memory, 512), bytes.NewReader(log), func() bool { return false }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The log that QEMU writes can be read.
func TestLogOfQEMU(t *testing.T) {
	tier.Tool(t, "qemu-io", "qemu-utils")
	dir := t.TempDir()
	disk, log := filepath.Join(dir, "disk"), filepath.Join(dir, "log")
	for _, name := range []string{disk, log} {
		if err := os.WriteFile(name, make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := exec.Command("qemu-io", "-t", "writeback", "--image-opts", qemu.LogNode(disk, "raw", log), "-c", "write -P 1 0 8192",
		"-c", "flush", "-c", "write -P 2 4096 4096", "-c", "write -z 8192 4096", "-c", "abort").CombinedOutput()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make(memory, 1<<20)
	sum, err := Replay(got, f, func() bool { return true })
	if want := (Summary{Writes: 3, Flushes: 1, Lost: 2}); err != nil || sum != want || got[0] != 1 || got[4096] != 1 {
		t.Errorf("got %+v, %v, %v %v\n%s", sum, err, got[0], got[4096], out)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add(record(record(super(), 1, 0, sectors('a', 3)), 0, flagFlush, ""))
	f.Add(super())
	f.Fuzz(func(t *testing.T, log []byte) {
		disk := make(memory, 1<<16)
		all, err := Replay(disk, bytes.NewReader(log), func() bool { return false })
		none, err2 := Replay(disk, bytes.NewReader(log), func() bool { return true })
		if err == nil && (err2 != nil || all.Writes != none.Writes || all.Lost != 0 || all.Kept != none.Kept+none.Lost) {
			t.Errorf("%+v, %+v, %v", all, none, err2)
		}
	})
}
