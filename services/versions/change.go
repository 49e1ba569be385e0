package versions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keelson/runtime/durable"
)

// operations are the durable changes of the store. Tests interrupt them.
type operations interface {
	WriteFile(path string, data []byte, perm fs.FileMode) error
	Symlink(target, path string) error
	Rename(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
}

type disk struct{}

func (disk) WriteFile(path string, data []byte, perm fs.FileMode) error {
	return durable.WriteFile(path, data, perm)
}
func (disk) Symlink(target, path string) error { return durable.Symlink(target, path) }
func (disk) Rename(from, to string) error      { return durable.Rename(from, to) }
func (disk) Remove(path string) error          { return durable.Remove(path) }
func (disk) RemoveAll(path string) error       { return os.RemoveAll(path) }

// largestRejected is how many rejected versions of a service are remembered.
const largestRejected = 64

// searchable is the mode of folders that lead to the root of a version: a container in a user
// namespace has to pass, and nobody but root lists them.
const searchable = 0o711

// Stage makes an empty folder, which only root may enter, for an artifact that is being
// read.
func (s *Store) Stage(name string) (dir string, err error) {
	if err := durable.MkdirAll(filepath.Join(s.dir, name), searchable); err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(filepath.Join(s.dir, name), stagingPart); err != nil {
		return "", fmt.Errorf("cannot make a staging folder: %w", err)
	}
	return dir, nil
}

// Keep makes a version of a folder of Stage that holds one, and removes the folder. A
// version that exists is left as it is.
func (s *Store) Keep(name, staged string, version Target) error {
	if !version.IsVersion() {
		return fmt.Errorf("cannot keep %q: not a version", version)
	}
	if _, err := os.Lstat(s.Folder(name, version)); err == nil {
		return s.Discard(staged)
	}
	if err := os.Chmod(staged, searchable); err != nil {
		return fmt.Errorf("cannot keep a version: %w", err)
	}
	return s.ops.Rename(staged, s.Folder(name, version))
}

// Discard removes a folder of Stage.
func (s *Store) Discard(staged string) error {
	if err := s.ops.RemoveAll(staged); err != nil {
		return fmt.Errorf("cannot remove a staging folder: %w", err)
	}
	return nil
}

// RemoveUnused removes a version that was kept and that no swap has begun to use. Any other
// target is left alone.
func (s *Store) RemoveUnused(name string, version Target) error {
	if !version.IsVersion() {
		return nil
	}
	state, err := s.Read(name)
	if err != nil {
		return err
	}
	if version == state.Current || version == state.Previous || state.Trial != nil && state.Trial.Next == version {
		return nil
	}
	return s.removeEach(name, func(entry string) bool { return Target(entry) == version })
}

// Begin records a swap to next before the version that runs is stopped. Until Commit, the
// old version stays current. ran says whether the service is to run, and stopped which others
// are stopped with it, for Recover.
func (s *Store) Begin(name string, next Target, ran bool, stopped []string, record Record) error {
	state, err := s.Read(name)
	switch {
	case err != nil:
		return err
	case next == state.Current:
		return fmt.Errorf("cannot swap %s to %s: it is current", name, next)
	case state.Trial != nil && state.Trial.Next != state.Current:
		return fmt.Errorf("cannot swap %s to %s: a swap to %s has begun", name, next, state.Trial.Next)
	}
	return s.writeJSON(name, trialFile, Trial{Next: next, Record: record, Ran: ran, Stopped: stopped, Old: state.Current, Previous: state.Previous})
}

// Commit makes the version of the swap current, and the old one previous. Clean should
// follow.
func (s *Store) Commit(name string) error {
	state, err := s.Read(name)
	if err != nil {
		return err
	}
	if state.Trial == nil {
		return fmt.Errorf("cannot commit the swap of %s: none has begun", name)
	}
	t := *state.Trial
	if err := s.addRecord(name, t); err != nil {
		return err
	}
	if err := s.ops.Symlink(string(t.Old), s.path(name, previousLink)); err != nil {
		return err
	}
	err = s.ops.Symlink(string(t.Next), s.path(name, currentLink))
	if current, _ := s.link(name, currentLink); current == t.Next {
		return nil // An error came after the rename.
	}
	return err
}

// addRecord adds the record of the version of a swap, and keeps that of the old one.
func (s *Store) addRecord(name string, t Trial) error {
	records, err := s.records(name)
	if err != nil {
		return err
	}
	maps.DeleteFunc(records, func(target Target, _ Record) bool { return target != t.Old })
	records[t.Next] = t.Record
	return s.writeJSON(name, recordFile, records)
}

// Clean removes the record of a swap that was committed, and all versions but the current
// and the previous one.
func (s *Store) Clean(name string) error {
	state, err := s.Read(name)
	if err != nil {
		return err
	}
	if state.Trial != nil {
		if state.Trial.Next != state.Current {
			return fmt.Errorf("cannot remove old versions of %s: a swap has begun", name)
		}
		if err := s.ops.Remove(s.path(name, trialFile)); err != nil {
			return err
		}
	}
	return s.removeEach(name, func(entry string) bool {
		t := Target(entry)
		return t.IsVersion() && t != state.Current && t != state.Previous
	})
}

// Abort gives up a swap: the old version stays current. With a reason, the version of the
// swap is rejected in future. If that cannot be recorded, the swap is given up all the same.
func (s *Store) Abort(name, reason string) error {
	state, err := s.Read(name)
	if err != nil {
		return err
	}
	if state.Trial == nil {
		return nil
	}
	var rejecting error
	if reason != "" && state.Trial.Next.IsVersion() {
		rejecting = s.reject(name, state.Trial.Next, reason)
	}
	// Commit may have been interrupted.
	if state.Previous != state.Trial.Previous {
		if err := s.setPrevious(name, state.Trial.Previous); err != nil {
			return errors.Join(rejecting, err)
		}
	}
	return errors.Join(rejecting, s.ops.Remove(s.path(name, trialFile)))
}

func (s *Store) setPrevious(name string, t Target) error {
	if t == "" {
		return s.ops.Remove(s.path(name, previousLink))
	}
	return s.ops.Symlink(string(t), s.path(name, previousLink))
}

// reject remembers a version that failed.
func (s *Store) reject(name string, version Target, reason string) error {
	all := map[Target]string{}
	if _, err := s.readJSON(name, rejectedFile, &all); err != nil {
		all = map[Target]string{} // It is lost, as when it was never written.
	}
	for _, other := range slices.Sorted(maps.Keys(all)) {
		if len(all) >= largestRejected {
			delete(all, other)
		}
	}
	all[version] = reason
	return s.writeJSON(name, rejectedFile, all)
}

// Forgive forgets that a version was rejected.
func (s *Store) Forgive(name string, version Target) error {
	all := map[Target]string{}
	if _, err := s.readJSON(name, rejectedFile, &all); err != nil {
		return err
	}
	if _, rejected := all[version]; !rejected {
		return nil
	}
	delete(all, version)
	return s.writeJSON(name, rejectedFile, all)
}

// Recover completes a commit that was interrupted, and removes what was being staged. It
// returns the state with a Trial if a swap had begun and was not committed: then the
// caller starts the old version and calls Abort.
func (s *Store) Recover(name string) (State, error) {
	state, err := s.Read(name)
	if err != nil {
		return state, err
	}
	err = s.cleanStaging(name)
	if t := state.Trial; t != nil && t.Next == state.Current {
		err = errors.Join(err, s.Clean(name))
		state.Trial = nil
	}
	return state, err
}

func (s *Store) cleanStaging(name string) error {
	return s.removeEach(name, func(entry string) bool { return strings.HasPrefix(entry, stagingPart) })
}

func (s *Store) removeEach(name string, garbage func(entry string) bool) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if garbage(e.Name()) {
			errs = append(errs, s.removeFolder(name, e.Name()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove old versions of %s: %w", name, err)
	}
	return nil
}

// removeFolder removes a version or a staging folder. A version loses its name first, so
// that one that is removed in part is not taken for a whole one.
func (s *Store) removeFolder(name, entry string) error {
	path := s.path(name, entry)
	if Target(entry).IsVersion() {
		path = s.path(name, stagingPart+entry)
		if err := s.ops.Rename(s.path(name, entry), path); err != nil {
			return err
		}
	}
	return s.ops.RemoveAll(path)
}

func (s *Store) writeJSON(name, file string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", s.path(name, file), err)
	}
	if err := durable.MkdirAll(filepath.Join(s.dir, name), searchable); err != nil {
		return err
	}
	return s.ops.WriteFile(s.path(name, file), text, 0o600)
}
