package staging

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

const blobsDir = v1.ImageBlobsDir

// layout is an OCI image layout whose blobs are files of blobsDir, named by their digest
// in hexadecimal. Each blob has the digest that its name says, except deferred.
type layout struct {
	root   *os.Root
	budget *budget
	files  map[string][]byte // index.json and oci-layout
	docker bool              // the archive has a file of the format of older versions of Docker
	blobs  map[string]int64  // sizes

	defers   func(digest string) bool // reports whether the digest of a blob need not be compared; nil: of none
	deferred string                   // the blob whose digest was not compared; only rename takes it
	inPlace  bool                     // its content need not be copied
	place    *artifact.Place          // where it is in the file, if it was not copied; the blob is empty
	source   *source                  // nil: the archive is compressed
}

var errNotCompared = errors.New("its digest was not compared")

// Names in archives of `docker save`. Before version 25, the second is a link where two images
// share a layer.
const (
	dockerFile  = "manifest.json"
	dockerLayer = "layer.tar"
)

var blobName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^blobs/sha256/([0-9a-f]{64})$`) })

func newLayout(root *os.Root, b *budget) (*layout, error) {
	if err := root.Mkdir(blobsDir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make folder %s: %w", blobsDir, err)
	}
	return &layout{root: root, budget: b, files: map[string][]byte{}, blobs: map[string]int64{}}, nil
}

// readArchive reads the tar of a layout. Files that are not part of one, such as those by
// which `docker save` describes the same image again, are left out.
func (l *layout) readArchive(r io.Reader) error {
	unpacked, err := plain(r)
	if err != nil {
		return fmt.Errorf("cannot read the archive: %w", err)
	}
	defer unpacked.Close()
	l.source, _ = unpacked.(*source)
	archive := tar.NewReader(unpacked)
	for n := 0; ; n++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read the archive after %d entries: %w", n, err)
		}
		if n == maxMembers {
			return fmt.Errorf("cannot read the archive: %w: more than %d entries", errTooLarge, maxMembers)
		}
		if err := l.member(header, archive); err != nil {
			return fmt.Errorf("cannot read the archive: entry %q: %w", header.Name, err)
		}
	}
	if err := drain(unpacked); err != nil {
		return fmt.Errorf("cannot read the end of the archive: %w", err)
	}
	return l.checkVersion()
}

// member reads one entry of the archive.
func (l *layout) member(header *tar.Header, content io.Reader) error {
	name := path.Clean(header.Name)
	if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
		return errors.New("the path leads out of the archive")
	}
	switch header.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg:
		l.docker = l.docker || name == dockerFile
	case tar.TypeSymlink:
		if path.Base(name) == dockerLayer {
			return nil
		}
		fallthrough
	default:
		return fmt.Errorf("type %q: an OCI image layout has only files and folders", header.Typeflag)
	}
	if name == v1.ImageIndexFile || name == v1.ImageLayoutFile {
		if _, ok := l.files[name]; ok {
			return errors.New("it is there twice")
		}
		data, err := document(content)
		l.files[name] = data
		return err
	}
	if m := blobName().FindStringSubmatch(name); m != nil {
		return l.blob(m[1], header.Size, content)
	}
	if strings.HasPrefix(name, blobsDir+"/") {
		return errors.New("blobs must have names of the form blobs/sha256/HEX")
	}
	return nil
}

// blob writes a blob, and compares its digest unless that is deferred.
func (l *layout) blob(digest string, size int64, content io.Reader) error {
	if _, ok := l.blobs[digest]; ok {
		return errors.New("it is there twice")
	}
	if err := l.budget.take(size); err != nil {
		return err
	}
	f, err := l.root.OpenFile(blobPath(digest), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if size > artifact.MaxDocument && l.defers != nil && l.defers(digest) {
		l.deferred, l.blobs[digest] = digest, size
		return errors.Join(l.keep(f, size, content), f.Close())
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return fmt.Errorf("its content has another digest, %s", got)
	}
	l.blobs[digest] = n
	return nil
}

// keep copies the content of the deferred blob, or finds its place.
func (l *layout) keep(f *os.File, size int64, content io.Reader) error {
	if !l.inPlace || l.source == nil {
		return l.copyWhole(f, size, content)
	}
	place, ok, err := l.source.place(content)
	switch {
	case err != nil:
		return err
	case !ok:
		return l.copyWhole(f, size, content)
	case place.Size != size: // a sparse entry
		return fmt.Errorf("it has %d bytes, its header says %d", place.Size, size)
	}
	l.place = &place
	return nil
}

// copyWhole copies content, which must fill the file: a sparse entry of a tar has less of it.
func (l *layout) copyWhole(f *os.File, size int64, content io.Reader) (err error) {
	if l.source != nil {
		_, err = l.source.copyTo(f, content)
	} else {
		_, err = io.CopyBuffer(onlyWriter{f}, content, make([]byte, copyBuffer))
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr); err == nil && info.Size() != size {
		err = fmt.Errorf("it has %d bytes, its header says %d", info.Size(), size)
	}
	return err
}

func blobPath(digest string) string { return path.Join(blobsDir, digest) }

func (l *layout) checkVersion() error {
	data, ok := l.files[v1.ImageLayoutFile]
	if !ok && l.docker {
		return errors.New("this is an archive in Docker's own format: make an OCI image layout of it with " +
			"skopeo copy docker-archive:FILE oci-archive:OUT, podman save --format oci-archive, or docker save of Docker 25 and later")
	}
	if !ok {
		return fmt.Errorf("this is not an OCI image layout: the archive has no file %s", v1.ImageLayoutFile)
	}
	var version v1.ImageLayout
	if err := json.Unmarshal(data, &version); err != nil {
		return fmt.Errorf("cannot read %s: %w", v1.ImageLayoutFile, err)
	}
	if version.Version != v1.ImageLayoutVersion {
		return fmt.Errorf("cannot read version %q of an OCI image layout, want %s", version.Version, v1.ImageLayoutVersion)
	}
	if _, ok := l.files[v1.ImageIndexFile]; !ok {
		return fmt.Errorf("this is not an OCI image layout: the archive has no file %s", v1.ImageIndexFile)
	}
	return nil
}

// find returns the name of the blob that d describes, which has that digest.
func (l *layout) find(d v1.Descriptor) (digest string, err error) {
	if l.isDeferred(d) {
		return "", fmt.Errorf("blob %s: %w", d.Digest, errNotCompared)
	}
	return l.findAny(d)
}

// isDeferred reports whether the digest of a blob was not compared.
func (l *layout) isDeferred(d v1.Descriptor) bool {
	return l.deferred != "" && string(d.Digest) == "sha256:"+l.deferred
}

// findAny is find for blobs whose digest may not have been compared.
func (l *layout) findAny(d v1.Descriptor) (digest string, err error) {
	digest, ok := strings.CutPrefix(string(d.Digest), "sha256:")
	if !ok {
		return "", fmt.Errorf("digest %q: only sha256 is supported", d.Digest)
	}
	size, ok := l.blobs[digest]
	switch {
	case !ok:
		return "", fmt.Errorf("blob %s is missing", d.Digest)
	case size != d.Size:
		return "", fmt.Errorf("blob %s has %d bytes, its descriptor says %d", d.Digest, size, d.Size)
	}
	return digest, nil
}

// parse reads a JSON document among the blobs.
func (l *layout) parse(d v1.Descriptor, into any) error {
	data, err := l.read(d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("cannot read blob %s: %w", d.Digest, err)
	}
	return nil
}

func (l *layout) read(d v1.Descriptor) ([]byte, error) {
	digest, err := l.find(d)
	if err != nil {
		return nil, err
	}
	f, err := l.root.Open(blobPath(digest))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := document(f)
	if err != nil {
		return nil, fmt.Errorf("cannot read blob %s: %w", d.Digest, err)
	}
	return data, nil
}

// remove removes a blob.
func (l *layout) remove(digest string) error {
	if err := l.root.Remove(blobPath(digest)); err != nil {
		return err
	}
	l.budget.give(l.blobs[digest])
	delete(l.blobs, digest)
	return nil
}

// retain removes all blobs but those that the descriptors name, which must exist.
func (l *layout) retain(used ...v1.Descriptor) error {
	keep := map[string]bool{}
	for _, d := range used {
		digest, err := l.findAny(d)
		if err != nil {
			return err
		}
		keep[digest] = true
	}
	for digest := range l.blobs {
		if !keep[digest] {
			if err := l.remove(digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// rename makes a blob a file of the bundle.
func (l *layout) rename(d v1.Descriptor, name string) error {
	digest, err := l.findAny(d)
	if err != nil {
		return err
	}
	if err := l.root.Rename(blobPath(digest), name); err != nil {
		return err
	}
	delete(l.blobs, digest)
	return nil
}
