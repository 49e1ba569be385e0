package disk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

const mib = 1 << 20

func TestLayout(t *testing.T) {
	parts := []Partition{{Name: "a", Size: 1}, {Name: "b", Size: 3*mib + 1}}
	for _, c := range []struct {
		plan   Plan
		starts []int64 // MiB
		size   int64   // MiB
		err    string
	}{
		{Plan{Scheme: GPT, Partitions: parts}, []int64{1, 2}, 7, ""},
		{Plan{Scheme: MBR, Partitions: parts}, []int64{1, 2}, 6, ""},
		{Plan{Scheme: GPT, Partitions: parts, Size: 20*mib - 1}, []int64{1, 2}, 20, ""},
		{Plan{Scheme: GPT, Partitions: parts, Size: 7 * mib}, []int64{1, 2}, 7, ""},
		{Plan{Scheme: GPT, Partitions: parts, Size: 6 * mib}, nil, 0, "a disk of 6MiB is too small: its partitions take 7MiB"},
		{Plan{Scheme: GPT}, nil, 2, ""},
		{Plan{Scheme: GPT, Partitions: []Partition{{Name: "x"}}}, nil, 0, "partition x has no size"},
		{Plan{Scheme: MBR, Partitions: []Partition{{Size: 1}, {Size: 1}, {Size: 1}, {Size: 1}, {Size: 1}}}, nil, 0, "room for 4"},
		{Plan{Scheme: MBR, Partitions: []Partition{{Size: 3 << 40}}}, nil, 0, "up to 2TiB"},
		{Plan{Scheme: MBR, BootCode: make([]byte, 441)}, nil, 0, "441 bytes"},
	} {
		placed, size, err := c.plan.Layout()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %s", err, c.err)
			}
			continue
		}
		if err != nil || size != c.size*mib || len(placed) != len(c.starts) {
			t.Errorf("%+v: got %+v, %d, %v", c.plan, placed, size, err)
			continue
		}
		for i, p := range placed {
			if p.Start != c.starts[i]*mib || p.Length%Alignment != 0 || p.Length < p.Size {
				t.Errorf("%+v is at the wrong place", p)
			}
		}
	}
}

// A written disk is sparse, has the contents of its partitions, is the same every time, and
// another program reads the same partitions from it.
func TestWrite(t *testing.T) {
	tier.Tool(t, "sfdisk", "fdisk")
	dir := t.TempDir()
	content := append(make([]byte, 2*mib), []byte("end")...)
	file := filepath.Join(dir, "content")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	for scheme, want := range map[Scheme]string{
		GPT: `start= *2048, size= *6144, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=[0-9A-F-]+, name="first"\n.*start= *8192, size= *2097152, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=[0-9A-F-]+, name="data"\n`,
		MBR: `label-id: 0x[0-9a-f]+\n(?s:.*)start= *2048, size= *6144, type=ef, bootable\n.*start= *8192, size= *2097152, type=83\n`,
	} {
		p := Plan{Scheme: scheme, ID: uuid.MustParse("43e51892-3273-42f7-bcda-b43b80cdfc48"), Partitions: []Partition{
			{Name: "first", Kind: ESP, Size: int64(len(content)), Content: file, Active: true}, {Name: "data", Kind: LinuxData, Size: 1 << 30},
		}}
		if scheme == MBR {
			p.BootCode = []byte("program")
		}
		name := filepath.Join(dir, string(scheme))
		for _, f := range []string{name, name + "2"} {
			if err := p.Write(f); err != nil {
				t.Fatal(err)
			}
		}
		dump, err := exec.Command("sfdisk", "--dump", name).Output()
		if err != nil || !regexp.MustCompile(want).Match(dump) {
			t.Errorf("%s: %v\n%s", scheme, err, dump)
		}
		head, again := headOf(t, name), headOf(t, name+"2")
		if !bytes.Equal(head, again) {
			t.Errorf("%s: two disks differ", scheme)
		}
		if got := head[mib : mib+len(content)]; !bytes.Equal(got, content) || !bytes.HasPrefix(head, p.BootCode) || head[510] != 0x55 {
			t.Errorf("%s: the content is not there", scheme)
		}
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil || st.Blocks*512 > mib {
			t.Errorf("%s takes %d bytes of %d, %v", scheme, st.Blocks*512, st.Size, err)
		}
	}
}

func headOf(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 8*mib)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 2*mib), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]Partition{
		"partition big: ": {Name: "big", Size: mib, Content: big}, "no such file": {Name: "none", Size: 1, Content: dir + "/none"},
	} {
		if err := (Plan{Scheme: GPT, Partitions: []Partition{p}}).Write(filepath.Join(dir, "disk")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A file that is not a disk for UEFI is refused.
func TestEFIArch(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := (Plan{Scheme: GPT, Partitions: []Partition{{Name: "x", Kind: ESP, Size: 40 * mib}}}).Write(empty); err != nil {
		t.Fatal(err)
	}
	noise := filepath.Join(dir, "noise")
	if err := os.WriteFile(noise, bytes.Repeat([]byte("EFI PART"), 10_000), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{empty, noise, os.DevNull, dir + "/none"} {
		if arch, err := EFIArch(name); err == nil {
			t.Errorf("%s is for %q", name, arch)
		}
	}
}
