package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/image/format"
	"keelson/testvm/vm/vmtest"
)

// measured is the cost of a boot.
type measured struct {
	size      int64         // of all files, in bytes on disk
	guest     time.Duration // from the kernel's start to ready, on the guest's clock
	wall, cpu time.Duration // from QEMU's start to ready
}

// report is the table of all boots. The row of a boot that failed is empty.
type report struct{ rows []string }

// row returns the row of a boot.
func row(t *testing.T, b format.Boot, m measured) string {
	t.Helper()
	if t.Failed() {
		return ""
	}
	t.Logf("%.1f MB, ready after %v (%v of processor time)", float64(m.size)/1e6, m.wall, m.cpu)
	return fmt.Sprintf("| %s | %s | %s | %s | %.1f | %.1f | %.1f | %.1f |\n", b.Format.Name, b.Arch, b.Machine, b.Bus,
		float64(m.size)/1e6, m.guest.Seconds(), m.wall.Seconds(), m.cpu.Seconds())
}

const reportHead = `| format | architecture | machine | disk on | MB | kernel to ready, s | QEMU's start to ready, s | processor time, s |
|---|---|---|---|---|---|---|---|
`

// write writes the table to a folder that make clean removes.
func (r *report) write(t *testing.T) {
	file := filepath.Join(vmtest.Repository(t), "build/formats.md")
	if err := os.WriteFile(file, []byte(reportHead+strings.Join(r.rows, "")), 0o644); err != nil {
		t.Error(err)
	}
}

// sizeOf returns the disk space that files use, without holes.
func sizeOf(t *testing.T, files []string) (n int64) {
	t.Helper()
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Stat(f, &st); err != nil {
			t.Fatal(err)
		}
		n += st.Blocks * 512
	}
	return n
}
