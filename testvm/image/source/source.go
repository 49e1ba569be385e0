package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keelson/testvm/image/debian"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/tree"
)

// Kinds of references. An image without one of these prefixes is in a registry.
const (
	OCI           = "oci"
	DockerArchive = "docker-archive"
	Dir           = "dir"
	Deb           = "deb"
	File          = "file"
	Registry      = ""
)

// Image is a file system and the configuration of its program.
type Image struct {
	Files  *tree.Tree
	Config v1.Config
}

// Fetcher fetches images. It must be used by one goroutine only.
type Fetcher struct {
	Arch     string // amd64, arm64, riscv64 or s390x
	Base     string // relative paths are relative to this
	CacheDir string
	Refresh  bool // ask registries again for images in the cache
	Debian   *debian.Archive
	Progress progress.Progress

	known map[string]*Image
}

// Split splits a reference into its kind and the rest.
func Split(ref string) (kind, rest string) {
	if kind, rest, ok := strings.Cut(ref, ":"); ok && slices.Contains([]string{OCI, DockerArchive, Dir, Deb, File}, kind) {
		return kind, rest
	}
	if strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") {
		return File, ref
	}
	return Registry, ref
}

// Path returns the path on this host for a path in a reference.
func (f *Fetcher) Path(name string) string {
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(name, "~/") {
		return filepath.Join(home, name[2:])
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(f.Base, name)
}

// Image returns the image named ref. It is fetched once.
func (f *Fetcher) Image(ctx context.Context, ref string) (*Image, error) {
	if img := f.known[ref]; img != nil {
		return img, nil
	}
	img, err := f.fetch(ctx, ref)
	if err != nil {
		return nil, err
	}
	if f.known == nil {
		f.known = map[string]*Image{}
	}
	f.known[ref] = img
	return img, nil
}

func (f *Fetcher) fetch(ctx context.Context, ref string) (*Image, error) {
	kind, rest := Split(ref)
	switch kind {
	case Dir:
		return f.dir(rest)
	case Deb:
		return f.deb(ctx, rest)
	case OCI:
		return f.layout(rest)
	case DockerArchive:
		return f.archive(rest)
	case File:
		return nil, fmt.Errorf("cannot use file %s as an image: only a kernel can be a file; an image is oci:, docker-archive:, dir:, deb: or in a registry", rest)
	}
	return f.registry(ctx, rest)
}

// ErrNotLocal is returned for an image that needs the network.
var ErrNotLocal = errors.New("is not on this host")

// Local returns an image without using the network: like Image, but a deb: image has no
// files, and the error for an image in a registry is ErrNotLocal.
func (f *Fetcher) Local(ctx context.Context, ref string) (*Image, error) {
	switch kind, rest := Split(ref); kind {
	case Registry:
		return nil, ErrNotLocal
	case Deb:
		_, err := packages(rest)
		return &Image{Files: tree.New()}, err
	}
	return f.Image(ctx, ref)
}

func (f *Fetcher) dir(name string) (*Image, error) {
	dir := f.Path(name)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("cannot find image dir:%s: there is no directory %s", name, absolute(dir))
	case err != nil:
		return nil, fmt.Errorf("cannot use image dir:%s: %w", name, err)
	case !info.IsDir():
		return nil, fmt.Errorf("cannot use image dir:%s: %s is not a directory", name, absolute(dir))
	}
	files, err := tree.FromDir(dir)
	if err != nil {
		return nil, err
	}
	if files.Len() == 0 {
		return nil, fmt.Errorf("cannot use image dir:%s: %s is empty", name, absolute(dir))
	}
	return &Image{Files: files}, nil
}

func (f *Fetcher) deb(ctx context.Context, list string) (*Image, error) {
	names, err := packages(list)
	if err != nil {
		return nil, err
	}
	files, _, err := f.Debian.Root(ctx, names)
	if err != nil {
		return nil, err
	}
	return &Image{Files: files}, nil
}

func packages(list string) (names []string, err error) {
	for _, n := range strings.Split(list, ",") {
		if n = strings.TrimSpace(n); n == "" || strings.ContainsAny(n, " /=") || strings.HasPrefix(n, "-") {
			return nil, fmt.Errorf("cannot use image deb:%s: %q is not the name of a package", list, n)
		}
		names = append(names, n)
	}
	return names, nil
}

func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}
