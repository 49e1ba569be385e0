package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
	"keelson/runtime/readfile"
)

// Dir is the folder of the store on a machine.
const Dir = "/var/lib/keelson/services"

// Names of files and links of a service.
const (
	currentLink  = "current"
	previousLink = "previous"
	recordFile   = "record.json"
	trialFile    = "trial.json"
	rejectedFile = "rejected.json"
	stagingPart  = "staging-"
)

// sizeLimit bounds the files of the store, in bytes.
const sizeLimit = 1 << 20

// Store is the folder of all services that were swapped.
type Store struct {
	dir string
	ops operations
}

// New returns the store in dir, which need not exist.
func New(dir string) *Store { return &Store{dir, disk{}} }

// Record says when a target became current, and by whom.
type Record struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
}

// Trial is a swap that is not committed.
type Trial struct {
	Next   Target `json:"next"`
	Record Record `json:"record"` // of Next
	Ran    bool   `json:"ran"`    // the service was to run when the swap began
	// Stopped are services that a removal stops, because they require this one. They start
	// again if it is undone.
	Stopped  []string `json:"stopped,omitempty"`
	Old      Target   `json:"old"`                // current when the swap began
	Previous Target   `json:"previous,omitempty"` // previous when the swap began
}

// State is what the store holds of one service.
type State struct {
	Current  Target // Image if it was never swapped
	Previous Target // empty: there is none
	Record   Record // of Current; zero for one that was never swapped
	Trial    *Trial // nil: there is none
}

// Names returns the names of the services in the store, sorted.
func (s *Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list swapped services: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Folder returns the folder of a version.
func (s *Store) Folder(name string, version Target) string { return s.path(name, string(version)) }

func (s *Store) path(name, file string) string { return filepath.Join(s.dir, name, file) }

// Read returns what the store holds of a service.
func (s *Store) Read(name string) (State, error) {
	state := State{Current: Image}
	current, err := s.link(name, currentLink)
	if err != nil {
		return state, err
	}
	if current != "" {
		state.Current = current
	}
	if state.Previous, err = s.link(name, previousLink); err != nil {
		return state, err
	}
	records, err := s.records(name)
	if err != nil {
		return state, err
	}
	state.Record = records[state.Current]
	var trial Trial
	known, err := s.readJSON(name, trialFile, &trial)
	if known && err == nil {
		if !trial.Next.valid() || !trial.Old.valid() || trial.Previous != "" && !trial.Previous.valid() {
			return state, fmt.Errorf("cannot use %s: it names no version", s.path(name, trialFile))
		}
		state.Trial = &trial
	}
	return state, err
}

// records returns the records of the current and the previous target.
func (s *Store) records(name string) (map[Target]Record, error) {
	all := map[Target]Record{}
	_, err := s.readJSON(name, recordFile, &all)
	return all, err
}

// link returns what a link leads to, or "" if it does not exist.
func (s *Store) link(name, file string) (Target, error) {
	path := s.path(name, file)
	text, err := os.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read link: %w", err)
	}
	if t := Target(text); t.valid() {
		return t, nil
	}
	return "", fmt.Errorf("cannot use link %s: it leads to %q, which is no version", path, text)
}

// readJSON decodes a file of a service.
func (s *Store) readJSON(name, file string, v any) (known bool, err error) {
	return readJSON(s.path(name, file), v)
}

// readJSON decodes a file. known is false if it does not exist.
func readJSON(path string, v any) (known bool, err error) {
	return readfile.JSON(path, sizeLimit, v)
}

// Meta describes a version.
func (s *Store) Meta(name string, version Target) (artifact.Meta, error) {
	var meta artifact.Meta
	known, err := s.readJSON(name, filepath.Join(string(version), artifact.File), &meta)
	if err == nil && !known {
		err = fmt.Errorf("service %s has no version %s", name, version)
	}
	return meta, err
}

// Rejected returns why a version was rejected earlier, or "".
func (s *Store) Rejected(name string, version Target) (string, error) {
	all := map[Target]string{}
	_, err := s.readJSON(name, rejectedFile, &all)
	return all[version], err
}

// Lasts reports whether the store survives a reboot.
func (s *Store) Lasts() bool {
	var st unix.Statfs_t
	dir := s.dir
	for unix.Statfs(dir, &st) != nil {
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
	return st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC
}
