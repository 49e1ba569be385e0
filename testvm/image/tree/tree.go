package tree

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Type is the type of an entry.
type Type byte

// The types of entries, by the letters of ls and find.
const (
	File    Type = 'f'
	Dir     Type = 'd'
	Symlink Type = 'l'
	Char    Type = 'c'
	Block   Type = 'b'
	FIFO    Type = 'p'
)

// Entry is one file, directory or node.
type Entry struct {
	Path         string
	Type         Type
	Mode         uint32 // permission bits with set-id and sticky
	UID, GID     int
	Link         string // of a symlink
	Major, Minor uint32 // of a device
	Data         []byte // of a file; must not be modified
}

// Tree is a set of entries. Its zero value is not usable; see New.
type Tree struct {
	entries map[string]*Entry
}

// New returns an empty tree.
func New() *Tree { return &Tree{entries: map[string]*Entry{}} }

// Clone returns a tree of the same entries.
func (t *Tree) Clone() *Tree {
	c := New()
	for p, e := range t.entries {
		copied := *e
		c.entries[p] = &copied
	}
	return c
}

// Clean returns name as a path in a tree; the root is "".
func Clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// Get returns the entry at name without following symlinks.
func (t *Tree) Get(name string) (Entry, bool) {
	e, ok := t.entries[Clean(name)]
	if !ok {
		return Entry{}, false
	}
	return *e, true
}

// Len returns the number of entries.
func (t *Tree) Len() int { return len(t.entries) }

// Size returns the sum of the sizes of all files, in bytes.
func (t *Tree) Size() (n int64) {
	for _, e := range t.entries {
		n += int64(len(e.Data))
	}
	return n
}

// Remove removes name and everything below it.
func (t *Tree) Remove(name string) {
	name = Clean(name)
	delete(t.entries, name)
	for p := range t.entries {
		if strings.HasPrefix(p, name+"/") {
			delete(t.entries, p)
		}
	}
}

// Put adds e and replaces an existing entry. Missing directories above it are made, with
// mode 0755 and owned by root. Symlinks above it are followed: a file put at lib/x goes
// into usr/lib if lib points there. A directory is only replaced by a directory; another
// entry is dropped. A directory put over a symlink to a directory keeps the symlink.
func (t *Tree) Put(e Entry) error {
	p, err := t.Resolve(path.Dir("/" + Clean(e.Path)))
	if err != nil {
		return err
	}
	name := path.Base(Clean(e.Path))
	if Clean(e.Path) == "" {
		return nil
	}
	t.MkdirAll(p, 0o755, 0, 0)
	e.Path = path.Join(p, name)
	if old, ok := t.entries[e.Path]; ok {
		if old.Type == Dir && e.Type != Dir {
			return nil
		}
		if old.Type == Symlink && e.Type == Dir && t.isDir(e.Path) {
			return nil
		}
	}
	t.entries[e.Path] = &e
	return nil
}

// MkdirAll makes the missing directories of name.
func (t *Tree) MkdirAll(name string, mode uint32, uid, gid int) {
	name = Clean(name)
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' || i == 0 {
			continue
		}
		if _, ok := t.entries[name[:i]]; !ok {
			t.entries[name[:i]] = &Entry{Path: name[:i], Type: Dir, Mode: mode, UID: uid, GID: gid}
		}
	}
}

func (t *Tree) isDir(name string) bool {
	p, err := t.Resolve(name)
	if err != nil {
		return false
	}
	e, ok := t.entries[p]
	return p == "" || ok && e.Type == Dir
}

const maxLinks = 40

// Resolve follows every symlink of name within the tree. Path elements that do not exist
// are kept.
func (t *Tree) Resolve(name string) (string, error) {
	rest := strings.Split(Clean(name), "/")
	at := ""
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = Clean(path.Dir("/" + at))
			continue
		}
		next := path.Join(at, part)
		e, ok := t.entries[next]
		if !ok || e.Type != Symlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("cannot resolve /%s: too many symlinks", Clean(name))
		}
		if strings.HasPrefix(e.Link, "/") {
			at = ""
		}
		rest = append(strings.Split(e.Link, "/"), rest...)
	}
	return at, nil
}

// Entries returns all entries sorted by path, so that a directory precedes its content.
func (t *Tree) Entries() []Entry {
	out := make([]Entry, 0, len(t.entries))
	for _, e := range t.entries {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Merge puts all entries of from below prefix, by Put.
func (t *Tree) Merge(prefix string, from *Tree) error {
	for _, e := range from.Entries() {
		e.Path = path.Join(prefix, e.Path)
		if err := t.Put(e); err != nil {
			return err
		}
	}
	return nil
}

// Set adds e at exactly its path, without following symlinks, and replaces an existing
// entry. Missing directories are made, with mode 0755 and owned by root.
func (t *Tree) Set(e Entry) {
	if e.Path = Clean(e.Path); e.Path == "" {
		return
	}
	t.MkdirAll(Clean(path.Dir("/"+e.Path)), 0o755, 0, 0)
	t.entries[e.Path] = &e
}
