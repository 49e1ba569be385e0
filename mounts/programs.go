package mounts

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// programsSource is the source of the overlays of CoverPrograms in mountinfo, by which
// UncoverPrograms recognises them.
const programsSource = "keelson-programs"

// programFolders are the folders that CoverPrograms covers.
var programFolders = []string{"/usr/bin", "/usr/libexec"}

// CoverPrograms shows the files of root/usr/bin and root/usr/libexec in /usr/bin and
// /usr/libexec, in place of those of the same name there and together with all others. It
// mounts a read-only overlay on each, after UncoverPrograms: what is executed in between is
// the root's own program. On an error, the root's own programs are in use.
func CoverPrograms(root string) error {
	if err := UncoverPrograms(); err != nil {
		return err
	}
	for _, dir := range programFolders {
		upper := root + dir
		if _, err := os.Lstat(upper); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			return errors.Join(fmt.Errorf("cannot use the programs in %s: %w", upper, err), UncoverPrograms())
		}
		// Files of the first folder hide those of the same name in the second.
		if err := Mount(programsSource, dir, "overlay", []string{"ro", "lowerdir=" + upper + ":" + dir}); err != nil {
			return errors.Join(err, UncoverPrograms())
		}
	}
	return nil
}

// UncoverPrograms unmounts the overlays of CoverPrograms, lazily: processes keep the program
// that they execute.
func UncoverPrograms() error {
	infos, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !coversPrograms(m), false })
	if err != nil {
		return fmt.Errorf("cannot list the mounts of programs: %w", err)
	}
	var errs []error
	for _, m := range slices.Backward(infos) {
		errs = append(errs, Unmount(m.Mountpoint, unix.MNT_DETACH))
	}
	return errors.Join(errs...)
}

func coversPrograms(m *mountinfo.Info) bool {
	return m.FSType == "overlay" && m.Source == programsSource && slices.Contains(programFolders, m.Mountpoint)
}

// WithPrograms calls f with the programs of CoverPrograms, in a mount namespace of the thread
// that runs f (Apart). Only f, and what it starts, sees them.
func WithPrograms(root string, f func() error) error {
	var err error
	nsErr := Apart(func() {
		if err = CoverPrograms(root); err == nil {
			err = f()
		}
	})
	return errors.Join(nsErr, err)
}
