package blkid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/tier"
)

// image makes a file of size bytes and runs a command, in which FILE stands for it.
func image(t *testing.T, size int64, command ...string) *os.File {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "image")
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, size), os.Mkdir(filepath.Join(dir, "empty"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for i := range command {
		command[i] = strings.NewReplacer("FILE", name, "EMPTY", filepath.Join(dir, "empty")).Replace(command[i])
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/" + command[0]); err != nil {
			tier.Skip(t, "%v", err)
		}
	}
	cmd := exec.Command(program, command[1:]...)
	cmd.Stdin = strings.NewReader("a long enough passphrase")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", command, err, out)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func probe(t *testing.T, f *os.File) (Content, error) {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return Probe(f, info.Size())
}

// fromBlkid returns what util-linux' blkid says of a file.
func fromBlkid(t *testing.T, f *os.File) Content {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/blkid")
	if err != nil {
		tier.Skip(t, "%v", err)
	}
	out, err := exec.Command(program, "-p", "-o", "export", f.Name()).Output()
	if err != nil {
		t.Fatalf("blkid: %v: %s", err, out)
	}
	var c Content
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.ReplaceAll(value, `\`, ""); key {
		case "TYPE":
			c.Type = value
		case "LABEL":
			c.Label = value
		case "UUID":
			c.UUID = value
		}
	}
	return c
}

// What real programs make is recognised as blkid does.
func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		size    int64
		command []string
	}{
		"ext4":        {8 << 20, []string{"mke2fs", "-q", "-t", "ext4", "-L", "a label", "FILE"}},
		"ext4 small":  {1 << 20, []string{"mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "0123456789abcdef", "FILE"}},
		"ext3":        {8 << 20, []string{"mke2fs", "-q", "-t", "ext3", "FILE"}},
		"ext2":        {1 << 20, []string{"mke2fs", "-q", "-t", "ext2", "-L", "x", "FILE"}},
		"jbd":         {8 << 20, []string{"mke2fs", "-q", "-O", "journal_dev", "-L", "journal", "FILE"}},
		"xfs":         {320 << 20, []string{"mkfs.xfs", "-q", "-L", "twelve chars", "FILE"}},
		"btrfs":       {128 << 20, []string{"mkfs.btrfs", "-q", "-L", strings.Repeat("long ", 50) + "x", "FILE"}},
		"fat12":       {1 << 20, []string{"mkfs.vfat", "-F", "12", "-n", "TWELVE", "FILE"}},
		"fat16":       {16 << 20, []string{"mkfs.vfat", "-F", "16", "-n", "A B", "FILE"}},
		"fat32":       {64 << 20, []string{"mkfs.vfat", "-F", "32", "-n", "ELEVENCHARS", "FILE"}},
		"fat no name": {16 << 20, []string{"mkfs.vfat", "FILE"}},
		"erofs":       {0, []string{"mkfs.erofs", "FILE", "EMPTY"}},
		"squashfs":    {0, []string{"mksquashfs", "EMPTY", "FILE", "-noappend", "-quiet"}},
		"swap":        {1 << 20, []string{"mkswap", "-L", "swap", "FILE"}},
		"swap 64K":    {1 << 20, []string{"mkswap", "-p", "65536", "FILE"}},
		"luks1":       {4 << 20, []string{"cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "FILE"}},
		"luks2":       {32 << 20, []string{"cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--label", "se cret", "FILE"}},
		"iso9660":     {0, []string{"xorriso", "-as", "mkisofs", "-quiet", "-V", "A DISC", "-o", "FILE", "EMPTY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := image(t, c.size, c.command...)
			want := fromBlkid(t, f)
			got, err := probe(t, f)
			if err != nil || got != want || got.Type == "" {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// put writes data into an image.
func put(image []byte, off int, data string) []byte {
	copy(image[off:], data)
	return image
}

func TestProbeOthers(t *testing.T) {
	empty := func() []byte { return make([]byte, 1<<20) }
	ext := "\x53\xef"
	raid := "\xfc\x4e\x2b\xa9\x01\x00\x00\x00"
	for name, c := range map[string]struct {
		image []byte
		want  string
		err   error
	}{
		"nothing":        {empty(), "", nil},
		"no device":      {nil, "", nil},
		"a sector":       {put(make([]byte, 512), 0, "XFSB"), "xfs", nil},
		"two types":      {put(put(empty(), 1024+0x38, ext), 0, "XFSB"), "", ErrSeveral},
		"hybrid":         {put(put(empty(), 1024+0x38, ext), 32<<10, "\x01CD001"), "iso9660", nil},
		"raid 1.0":       {put(put(empty(), 1024+0x38, ext), 1<<20-8192, raid), "linux_raid_member", nil},
		"raid 1.2":       {put(put(empty(), 1024+0x38, ext), 4096, raid), "linux_raid_member", nil},
		"raid 0.90":      {put(empty(), 1<<20-64<<10, raid), "linux_raid_member", nil},
		"volume group":   {put(put(empty(), 512, "LABELONE"), 536, "LVM2 001"), "LVM2_member", nil},
		"an MBR":         {put(empty(), 510, "\x55\xaa"), "", nil},
		"LUKS 3":         {put(empty(), 0, "LUKS\xba\xbe\x00\x03"), "", nil},
		"old swap":       {put(empty(), 4096-10, "SWAP-SPACE"), "", nil},
		"swap version 2": {put(put(empty(), 4096-10, "SWAPSPACE2"), 1024, "\x02"), "", nil},
	} {
		got, err := Probe(bytes.NewReader(c.image), int64(len(c.image)))
		if got.Type != c.want || !errors.Is(err, c.err) || got.Member() != (strings.HasPrefix(name, "raid") || name == "volume group") {
			t.Errorf("%s: %+v, %v, want %s, %v", name, got, err, c.want, c.err)
		}
	}
	bad := errors.New("bad sector")
	if _, err := Probe(failing{bad}, 1<<20); !errors.Is(err, bad) {
		t.Errorf("a device with errors: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestEncode(t *testing.T) {
	for label, want := range map[string]string{
		"data": "data", "a label": `a\x20label`, "../../etc/passwd": `..\x2f..\x2fetc\x2fpasswd`, "..": `\x2e\x2e`, ".": `\x2e`, "": "",
		"é…": "é…", "\xff\n": `\xff\x0a`, "\u202e": `\xe2\x80\xae`, `a\x2f`: `a\x5cx2f`, "#+-.:=@_": "#+-.:=@_", "$%?,'\"": `\x24\x25\x3f\x2c\x27\x22`,
		"\ufffd": "\ufffd",
	} {
		if got := Encode(label); got != want {
			t.Errorf("%q: %q, want %q", label, got, want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("../a b\xff")
	f.Fuzz(func(t *testing.T, label string) {
		name := Encode(label)
		if strings.ContainsAny(name, "/\x00 \n") || name == "." || name == ".." || (name == "") != (label == "") {
			t.Errorf("%q: %q", label, name)
		}
		if !strings.HasPrefix(label, ".") && decode(t, name) != label {
			t.Errorf("%q: %q is not unique", label, name)
		}
	})
}

// decode reverses Encode.
func decode(t *testing.T, name string) string {
	t.Helper()
	var out []byte
	for len(name) > 0 {
		if !strings.HasPrefix(name, `\x`) {
			out, name = append(out, name[0]), name[1:]
			continue
		}
		digits := strings.NewReplacer("a", ":", "b", ";", "c", "<", "d", "=", "e", ">", "f", "?").Replace(name[2:4])
		out, name = append(out, (digits[0]-'0')<<4|(digits[1]-'0')), name[4:]
	}
	return string(out)
}

// sparse is a device that is zeros but for data at one position.
type sparse struct {
	off  int64
	data []byte
	read *int
}

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	*s.read += len(b)
	for i := range b {
		if at := off + int64(i) - s.off; at >= 0 && at < int64(len(s.data)) {
			b[i] = s.data[at]
		}
	}
	return len(b), nil
}

var _ io.ReaderAt = sparse{}

// However wrong a superblock is, a bounded part of the device is read.
func FuzzProbe(f *testing.F) {
	fat := make([]byte, 512)
	copy(fat, "\xeb\x3c\x90mkfs.fat\x00\x02\x04\x01\x00\x02\x00\x02\x00\x08\xf8\x02\x00")
	copy(fat[54:], "FAT16   ")
	fat[510], fat[511] = 0x55, 0xaa
	f.Add(int64(1<<40), int64(0), fat)
	fat32 := bytes.Clone(fat)
	copy(fat32[17:24], "\x00\x00\x00\x00\xf8\x00\x00")
	binary.LittleEndian.PutUint32(fat32[36:], 1<<31)
	binary.LittleEndian.PutUint32(fat32[44:], 1<<32-1)
	copy(fat32[82:], "FAT32   ")
	f.Add(int64(1<<62), int64(0), fat32)
	f.Add(int64(1<<20), int64(1024+0x38), []byte("\x53\xef"))
	f.Add(int64(1<<20), int64(0), []byte("LUKS\xba\xbe\x00\x02"))
	f.Add(int64(1<<20), int64(32<<10), []byte("\x01CD001"))
	f.Add(int64(-1), int64(0), []byte("XFSB"))
	f.Fuzz(func(t *testing.T, size, off int64, data []byte) {
		read := 0
		c, err := Probe(sparse{off, data, &read}, size)
		if read > 140<<10 || len(c.Label) > 256 || len(c.UUID) > 64 || err != nil && !errors.Is(err, ErrSeveral) {
			t.Errorf("%+v, %v after %d bytes", c, err, read)
		}
	})
}
