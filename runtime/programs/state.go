package programs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"keelson/runtime/durable"
	kpaths "keelson/runtime/paths"
	"keelson/runtime/readfile"
)

// DocumentLimit is the largest size, in bytes, of the files below State and of the documents of
// a version.
const DocumentLimit = 1 << 20

// Files below /run that a swap of programs uses.
const (
	State       = kpaths.Programs
	TrialFile   = kpaths.ProgramsTrial // a Trial: exists while programs are on trial
	OutcomeFile = State + "/outcome"   // an Outcome: how the last trial ended
	ReasonFile  = State + "/reason"    // why the supervisor under trial gives up, as text
	UsedFile    = State + "/used"      // the target whose programs are in use; absent: Image
)

// Trial is a swap of programs that is not committed.
type Trial struct {
	Target    string         `json:"target"`
	Old       string         `json:"old"`
	Probation time.Duration  `json:"probation"`
	Services  map[string]int `json:"services,omitempty"` // services that ran, and their processes
}

// Outcome is how a trial ended.
type Outcome struct {
	Target    string `json:"target"`
	Old       string `json:"old"`
	Committed bool   `json:"committed"`
	Reason    string `json:"reason,omitempty"` // why it was not committed
}

// ReadTrial reads the trial in the folder dir (State). known is false if there is none.
func ReadTrial(dir string) (t Trial, known bool, err error) {
	known, err = readState(filepath.Join(dir, filepath.Base(TrialFile)), &t)
	if err == nil && known {
		err = errors.Join(CheckTarget(t.Target), CheckTarget(t.Old))
	}
	return t, known, err
}

// ReadOutcome reads the outcome of the last trial.
func ReadOutcome(dir string) (o Outcome, known bool, err error) {
	known, err = readState(filepath.Join(dir, filepath.Base(OutcomeFile)), &o)
	return o, known, err
}

// ReadReason returns the text of ReasonFile, or "".
func ReadReason(dir string) string {
	text, err := readfile.NoFollow(filepath.Join(dir, filepath.Base(ReasonFile)), DocumentLimit)
	if err != nil {
		return ""
	}
	return string(text)
}

// ReadUsed returns the target whose programs are in use.
func ReadUsed(dir string) string {
	text, err := readfile.NoFollow(filepath.Join(dir, filepath.Base(UsedFile)), DocumentLimit)
	if err != nil || CheckTarget(string(text)) != nil {
		return Image
	}
	return string(text)
}

// WriteTrial begins a trial. The outcome of the one before is forgotten.
func WriteTrial(dir string, t Trial) error {
	for _, name := range []string{OutcomeFile, ReasonFile} {
		if err := os.Remove(filepath.Join(dir, filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot begin a trial of programs: %w", err)
		}
	}
	return writeJSON(filepath.Join(dir, filepath.Base(TrialFile)), t)
}

// EndTrial records the outcome of a trial, and removes the trial.
func EndTrial(dir string, o Outcome) error {
	err := writeJSON(filepath.Join(dir, filepath.Base(OutcomeFile)), o)
	if removeErr := os.Remove(filepath.Join(dir, filepath.Base(TrialFile))); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("cannot end the trial of programs: %w", removeErr))
	}
	return err
}

// WriteReason records why the supervisor under trial gives up.
func WriteReason(dir, reason string) error {
	return writeFile(filepath.Join(dir, filepath.Base(ReasonFile)), []byte(reason))
}

// WriteUsed records the target whose programs are in use.
func WriteUsed(dir, target string) error {
	return writeFile(filepath.Join(dir, filepath.Base(UsedFile)), []byte(target))
}

func readState(path string, v any) (known bool, err error) {
	return readfile.JSON(path, DocumentLimit, v)
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return writeFile(path, text)
}

// writeFile replaces a file, and makes its folder.
func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return durable.Replace(path, text, 0o600)
}

// Current returns the target whose programs the store store has as current. Without a store,
// that is Image.
func Current(store string) (string, error) {
	path := filepath.Join(store, "current")
	target, err := os.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Image, nil
	}
	if err == nil {
		err = CheckTarget(target)
	}
	if err != nil {
		return Image, fmt.Errorf("cannot use link %s: %w", path, err)
	}
	return target, nil
}

// DigestOf returns the digest of a target in the store: sha256:HEX.
func DigestOf(target string) string {
	if !targetForm().MatchString(target) {
		return ""
	}
	return "sha256:" + target[len("sha256-"):]
}
