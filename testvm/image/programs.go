package image

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keelson/runtime/artifact"
	"keelson/runtime/programs"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/tree"
)

// WritePrograms writes the artifact of keelson's own programs (package runtime/programs): one
// manifest for each folder, which holds the root of a guest or some of its programs, for one
// architecture. Other files in the folders are left out. Without modTime, the files have the
// time of the guest's build, or 1970.
func WritePrograms(dirs []string, modTime time.Time, to Target) ([]Manifest, error) {
	if err := to.check(); err != nil {
		return nil, err
	}
	var layout ocilayout.Layout
	var made []Manifest
	for _, dir := range dirs {
		p, err := readPrograms(dir)
		if err != nil {
			return nil, fmt.Errorf("cannot use the programs in %s: %w", dir, err)
		}
		if slices.ContainsFunc(made, func(m Manifest) bool { return m.Arch == p.arch }) {
			return nil, fmt.Errorf("cannot use the programs in %s: another folder has programs for %s too", dir, p.arch)
		}
		if modTime.IsZero() {
			modTime = p.built
		}
		tag := p.arch
		if len(dirs) == 1 {
			tag = "latest"
		}
		digest, err := p.add(&layout, modTime, tag)
		if err != nil {
			return nil, err
		}
		made = append(made, Manifest{digest, p.arch})
	}
	return made, to.write(&layout, modTime)
}

// guestPrograms are the programs of one guest.
type guestPrograms struct {
	files *tree.Tree
	list  programs.List
	arch  string    // in Go's spelling
	built time.Time // 1970 if it is unknown
}

func readPrograms(dir string) (p guestPrograms, err error) {
	p.files, p.built = tree.New(), time.Unix(0, 0)
	digests, links := map[string]string{}, []string(nil)
	for _, name := range programs.Paths() {
		e, err := p.read(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, err
		}
		if e.Type == tree.Symlink {
			links = append(links, name)
		} else {
			sum := sha256.Sum256(e.Data)
			digests[name] = "sha256:" + hex.EncodeToString(sum[:])
		}
		p.files.MkdirAll(path.Dir(name), 0o755, 0, 0)
		if err := p.files.Put(e); err != nil {
			return p, err
		}
	}
	if len(digests) == 0 {
		return p, fmt.Errorf("it has none of %s", strings.Join(programs.Paths(), ", "))
	}
	if text, err := os.ReadFile(filepath.Join(dir, buildTimeFile)); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			p.built = time.Unix(n, 0)
		}
	}
	p.list, err = programs.NewList(digests, links)
	return p, err
}

// read reads one program, and compares its architecture with that of the others.
func (p *guestPrograms) read(dir, name string) (tree.Entry, error) {
	file := filepath.Join(dir, name)
	if target, err := os.Readlink(file); err == nil && target == programs.LinkTarget && programs.MayLink(name) {
		return tree.Entry{Path: name, Type: tree.Symlink, Mode: 0o777, Link: target}, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return tree.Entry{}, err
	}
	arch, err := architectureOf(file)
	if err != nil {
		return tree.Entry{}, err
	}
	if p.arch != "" && p.arch != arch {
		return tree.Entry{}, fmt.Errorf("%s is a program for %s, another one is for %s", name, arch, p.arch)
	}
	p.arch = arch
	return tree.Entry{Path: name, Type: tree.File, Mode: 0o755, Data: data}, nil
}

// architectureOf returns the architecture of a program, in Go's spelling.
func architectureOf(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", fmt.Errorf("%s is not a program of Linux: %w", file, err)
	}
	defer f.Close()
	arch, ok := map[elf.Machine]string{
		elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x",
	}[f.Machine]
	if !ok {
		return "", fmt.Errorf("%s is a program for %v, which keelson does not support", file, f.Machine)
	}
	return arch, nil
}

// add adds the programs to a layout and returns the digest of their manifest.
func (p *guestPrograms) add(layout *ocilayout.Layout, modTime time.Time, tag string) (string, error) {
	config, err := json.Marshal(p.list)
	if err != nil {
		return "", err
	}
	layer, err := ocilayout.Layer(p.files, modTime, 0, 0)
	if err != nil {
		return "", err
	}
	img, err := ocilayout.Artifact(artifact.ProgramsType, artifact.ProgramsConfigType, config, []ocilayout.Blob{layer}, map[string]string{
		artifact.TitleKey: "programs", artifact.Architecture: p.arch, artifact.CreatedKey: modTime.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return digest.String(), layout.AddImage(img, map[string]string{ocilayout.RefAnnotation: tag}, &v1.Platform{OS: "linux", Architecture: p.arch})
}
