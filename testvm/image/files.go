package image

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/goccy/go-yaml"

	netconfig "keelson/netcfg/config"
	"keelson/runtime/swappolicy"
	"keelson/testvm/image/config"
	"keelson/testvm/image/tree"
)

// file adds an entry of the section files to the root.
func (a *assembler) file(field string, f config.File) error {
	e, err := a.entry(f)
	if errors.Is(err, errSkip) {
		return nil
	}
	if err != nil {
		return a.doc.ErrorAt(field, err)
	}
	if "/"+e.Path == swappolicy.Path && e.Type == tree.File { // A machine would refuse every swap.
		if _, err := swappolicy.Parse(swappolicy.Path, e.Data); err != nil {
			return a.doc.ErrorAt(field, err)
		}
	}
	if "/"+e.Path == netconfig.Path && e.Type == tree.File { // A machine would have no network.
		if _, err := netconfig.Parse(e.Data, netconfig.Path); err != nil {
			return a.doc.ErrorAt(field, err)
		}
	}
	if err := a.putFile(e); err != nil {
		return a.doc.ErrorAt(field+".path", err)
	}
	return nil
}

// errSkip is returned for an optional file that does not exist.
var errSkip = errors.New("file is optional")

func (a *assembler) entry(f config.File) (e tree.Entry, err error) {
	e = tree.Entry{Path: f.CleanPath(), Type: tree.File}
	if e.Mode, err = f.FileMode(); err != nil {
		return e, err
	}
	uid, err := f.UID.Number(a.ids)
	if err != nil {
		return e, err
	}
	gid, err := f.GID.Number(a.ids)
	if err != nil {
		return e, err
	}
	e.UID, e.GID = int(uid), int(gid)
	switch {
	case f.Directory:
		e.Type = tree.Dir
	case f.Symlink != "":
		e.Type, e.Link = tree.Symlink, f.Symlink
	case f.Contents != nil:
		e.Data = []byte(*f.Contents)
	case f.Metadata == "yaml":
		e.Data, err = a.doc.YAML()
	case f.Metadata == "json":
		if e.Data, err = a.doc.YAML(); err == nil {
			e.Data, err = yaml.YAMLToJSON(e.Data)
		}
	default:
		e.Data, err = os.ReadFile(a.path(a.expand(f.Source)))
		if err != nil && f.Optional {
			return e, errSkip
		}
	}
	return e, err
}

// putFile adds an entry and the missing directories above it. These have the entry's
// owner and its mode, with search permission for everyone who has any permission.
func (a *assembler) putFile(e tree.Entry) error {
	at, err := a.root.Resolve(path.Dir("/" + e.Path))
	if err != nil {
		return err
	}
	name := path.Join(at, path.Base(e.Path))
	if err := config.CheckVisible(name, e.Type == tree.Dir); err != nil {
		return err // A symlink of the image points there.
	}
	if err := a.checkAbove(at); err != nil {
		return err
	}
	if old, ok := a.root.Get(name); ok && old.Type == tree.Dir && e.Type != tree.Dir {
		return fmt.Errorf("/%s is a directory", name)
	}
	a.root.MkdirAll(at, dirMode(e.Mode), e.UID, e.GID)
	e.Path = name
	return a.root.Put(e)
}

// checkAbove returns an error if dir or a path above it is not a directory.
func (a *assembler) checkAbove(dir string) error {
	parts := strings.Split(dir, "/")
	for i := range parts {
		p := strings.Join(parts[:i+1], "/")
		if e, ok := a.root.Get(p); ok && e.Type != tree.Dir {
			return fmt.Errorf("/%s is not a directory", p)
		}
	}
	return nil
}

func dirMode(mode uint32) uint32 {
	for _, class := range []uint32{0o700, 0o070, 0o007} {
		if mode&class != 0 {
			mode |= class & 0o111
		}
	}
	return mode & 0o777
}
