package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Suffixes of the three files of an image, as the linuxkit CLI names them.
const (
	kernelSuffix  = "-kernel"
	initrdSuffix  = "-initrd.img"
	cmdlineSuffix = "-cmdline"
)

// Image is what a machine boots.
type Image struct {
	Kernel, Initrd, Cmdline string // two files and a command line
}

// FindImage finds the image called prefix (PREFIX-kernel and so on), or the
// only one in the folder of that name.
func FindImage(prefix string) (Image, error) {
	if info, err := os.Stat(prefix); err == nil && info.IsDir() {
		var oneErr error
		if prefix, oneErr = only(prefix); oneErr != nil {
			return Image{}, oneErr
		}
	}
	i := Image{Kernel: prefix + kernelSuffix, Initrd: prefix + initrdSuffix}
	if _, err := os.Stat(i.Kernel); err != nil {
		return i, fmt.Errorf("cannot find an image at %s: %w (testvm build makes one)", prefix, err)
	}
	if _, err := os.Stat(i.Initrd); errors.Is(err, fs.ErrNotExist) {
		i.Initrd = "" // the root may be on a disk
	}
	cmdline, err := os.ReadFile(prefix + cmdlineSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("cannot read the image's command line: %w", err)
	}
	i.Cmdline = strings.TrimSpace(string(cmdline))
	return i, nil
}

// only is the prefix of the only image in a folder.
func only(dir string) (string, error) {
	kernels, err := filepath.Glob(filepath.Join(dir, "*"+kernelSuffix))
	if err != nil {
		return "", fmt.Errorf("cannot search %s: %w", dir, err)
	}
	switch len(kernels) {
	case 0:
		return "", fmt.Errorf("cannot find an image in %s: no file ends in %s (testvm build makes one)", dir, kernelSuffix)
	case 1:
		return strings.TrimSuffix(kernels[0], kernelSuffix), nil
	}
	return "", fmt.Errorf("cannot choose between %d images in %s: name one, as in %s",
		len(kernels), dir, strings.TrimSuffix(kernels[0], kernelSuffix))
}
