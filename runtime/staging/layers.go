package staging

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// applyLayers unpacks layers into the folder dir, in order, and removes their blobs. It
// returns the size of the files. check refuses entries.
func applyLayers(l *layout, layers []v1.Descriptor, dir string, check func(*tar.Header) error) (size int64, err error) {
	for i, d := range layers {
		n, err := applyLayer(l, d, dir, check)
		if err == nil {
			err = l.retain(layers[i+1:]...) // An image may have the same layer twice.
		}
		if err != nil {
			return 0, fmt.Errorf("cannot unpack layer %d of %d (%s): %w", i+1, len(layers), d.Digest, err)
		}
		size += n
	}
	return size, nil
}

func applyLayer(l *layout, d v1.Descriptor, dir string, check func(*tar.Header) error) (int64, error) {
	open, ok := layerFormats[d.MediaType]
	if !ok {
		return 0, fmt.Errorf("media type %q is not supported", d.MediaType)
	}
	digest, err := l.find(d)
	if err != nil {
		return 0, err
	}
	f, err := l.root.Open(blobPath(digest))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	content, err := open(f)
	if err != nil {
		return 0, err
	}
	defer content.Close()
	entries := layerFilter{budget: l.budget, check: check}
	if _, err := archive.Apply(context.Background(), dir, content, archive.WithFilter(entries.accept)); err != nil {
		if entries.last != "" {
			return 0, fmt.Errorf("entry %q: %w", entries.last, err)
		}
		return 0, err
	}
	if err := drain(content); err != nil {
		return 0, err
	}
	if top := entries.top; top != nil { // Apply ignores it.
		if err := errors.Join(os.Chown(dir, top.Uid, top.Gid), os.Chmod(dir, top.FileInfo().Mode())); err != nil {
			return 0, fmt.Errorf("entry %q: %w", top.Name, err)
		}
	}
	return entries.size, nil
}

// layerFilter refuses entries that no image needs, and counts the others.
type layerFilter struct {
	budget *budget
	check  func(*tar.Header) error
	last   string      // name of the entry in work
	top    *tar.Header // of the folder that the layer is unpacked into, if the layer lists it
	size   int64
}

// accept is called for each entry before it is unpacked. The name is clean.
func (f *layerFilter) accept(h *tar.Header) (bool, error) {
	f.last = h.Name
	if h.Typeflag == tar.TypeXGlobalHeader {
		return false, nil
	}
	if err := f.check(h); err != nil {
		return false, err
	}
	if h.Name == "." || h.Name == "/" {
		if f.top = h; h.Typeflag != tar.TypeDir {
			return false, errors.New("the root is not a folder")
		}
		return false, f.budget.entry(0)
	}
	size := int64(0)
	if h.Typeflag == tar.TypeReg {
		size = h.Size // of a sparse file, with its holes: they are written as zeros
	}
	keepAttributes(h.PAXRecords)
	for key, value := range h.PAXRecords {
		size += int64(len(key) + len(value))
	}
	f.size += size
	return true, f.budget.entry(size)
}

func checkEntry(h *tar.Header) error {
	switch {
	case leadsOut(h.Name) && h.Name != "/":
		return errors.New("the path leads out of the root file system")
	case h.Typeflag == tar.TypeLink && leadsOut(path.Clean(h.Linkname)):
		return fmt.Errorf("hard link to %q, which leads out of the root file system", h.Linkname)
	case badID(h.Uid) || badID(h.Gid):
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
		return nil
	case tar.TypeChar, tar.TypeBlock:
		return errors.New("it is a device")
	case tar.TypeFifo: // A program outside of the container that opens it would wait forever.
		return errors.New("it is a FIFO")
	}
	return fmt.Errorf("unknown type %q", h.Typeflag)
}

// leadsOut reports whether a clean path does not stay below the folder that it begins in.
func leadsOut(name string) bool {
	return path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../")
}

// badID reports whether chown(2) would take the ID for "do not change it", or only its low
// 32 bits.
func badID(id int) bool { return id < 0 || int64(id) >= math.MaxUint32 }

// xattr is the prefix of the PAX records of extended attributes.
const xattr = "SCHILY.xattr."

// keepAttributes removes all extended attributes but file capabilities and those of
// users. Others have a meaning for the kernel of this machine (labels of LSMs, IMA,
// overlayfs), which an artifact must not decide.
func keepAttributes(records map[string]string) {
	for key := range records {
		name, ok := strings.CutPrefix(key, xattr)
		if ok && name != "security.capability" && !strings.HasPrefix(name, "user.") {
			delete(records, key)
		}
	}
}
