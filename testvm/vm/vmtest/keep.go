package vmtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"keelson/testvm/qemu"
)

// keepFailed saves the console and the disks of a failed test's machine in the folder of
// `go test -artifacts -outputdir DIR`. Without that flag it does nothing.
func keepFailed(t testing.TB, console string, disks []qemu.Disk) {
	f := flag.Lookup("test.artifacts")
	if f == nil || f.Value.String() != "true" {
		return
	}
	dir, err := os.MkdirTemp(t.ArtifactDir(), "vm-")
	if err == nil {
		err = keep(dir, console, disks)
	}
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("console and disks are in %s", dir)
}

// keep writes the console and copies the disks, in their order, to dir.
func keep(dir, console string, disks []qemu.Disk) error {
	errs := []error{os.WriteFile(filepath.Join(dir, "console.txt"), []byte(console), 0o644)}
	for i, d := range disks {
		to := filepath.Join(dir, fmt.Sprintf("disk%d-%s", i, filepath.Base(d.Path)))
		if out, err := exec.Command("cp", "--sparse=always", d.Path, to).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("cannot keep disk %s: %w: %s", d.Path, err, out))
		}
	}
	return errors.Join(errs...)
}
