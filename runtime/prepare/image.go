package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"

	"keelson/mounts"
	"keelson/runtime/bundle"
)

const imageType = "erofs"

// mountImage mounts the root of a bundle, unless it is mounted. Its devices end when it is
// unmounted.
func mountImage(i *bundle.Image) (made bool, err error) {
	if err := makeImageTarget(i); err != nil {
		return false, err
	}
	mounted, err := imageMounted(i)
	if mounted || err != nil {
		return false, err
	}
	err = verity(i).Mount()
	return err == nil, err
}

func verity(i *bundle.Image) mounts.Verity {
	return mounts.Verity{
		File: i.File, Target: i.Target, Device: mounts.VerityPrefix + i.Name, RootHash: i.RootHash, HashOffset: i.HashOffset,
		Blocks: i.Blocks, Salt: i.Salt, Source: i.Source,
	}
}

func makeImageTarget(i *bundle.Image) error {
	if err := os.Mkdir(i.Target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make mount point: %w", err)
	}
	return nil
}

// imageMounted reports whether the image is mounted, also below other mounts.
func imageMounted(i *bundle.Image) (bool, error) {
	target, err := filepath.EvalSymlinks(i.Target)
	if err != nil {
		return false, fmt.Errorf("cannot resolve mount point: %w", err)
	}
	at, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != target || m.FSType != imageType, false
	})
	if err != nil {
		return false, fmt.Errorf("cannot read mountinfo: %w", err)
	}
	return len(at) > 0, nil
}

// TryImage finds out whether the kernel can mount the root of b, if that is an image: it
// mounts it for a moment, where no other process sees it.
func TryImage(b *bundle.Bundle) error {
	if b.Image == nil {
		return nil
	}
	if err := makeImageTarget(b.Image); err != nil {
		return err
	}
	var err error
	if nsErr := mounts.Apart(func() {
		if err = verity(b.Image).Mount(); err == nil {
			err = mounts.Unmount(b.Image.Target, 0)
		}
	}); nsErr != nil {
		return nsErr
	}
	var lacking *mounts.LackingError
	switch {
	case errors.As(err, &lacking):
		return fmt.Errorf("cannot mount the erofs image of the root: %w; use an artifact made with keelson bundle --root layers or both", err)
	case err != nil:
		return fmt.Errorf("cannot mount the erofs image of the root: %w", err)
	}
	return nil
}

// UseFile makes an image that is mounted from i.Source, which returns nil by now, read i.File.
func UseFile(i *bundle.Image) error { return verity(i).UseFile() }

// LackingForImages returns an error that names what the kernel lacks to mount an image, or nil.
func LackingForImages() error { return mounts.LackingForVerity() }

// SweepImages removes devices of images that a process has left that died while it mounted
// one.
func SweepImages() error { return mounts.SweepVerity() }
