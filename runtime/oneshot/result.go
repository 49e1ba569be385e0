package oneshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"keelson/runtime/logs"
)

// Result reports how a container ended. It is stored as JSON in /run/keelson.
type Result struct {
	Name     string        `json:"name"`
	ExitCode int           `json:"exitCode"`         // 128+N after signal N; -1 when it did not run
	Signal   string        `json:"signal,omitempty"` // such as SIGSEGV
	Err      string        `json:"err,omitempty"`    // why it did not run, or was ended
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took"`   // nanoseconds
	Stdout   string        `json:"stdout"` // path of the log; empty when a logging daemon has it
	Stderr   string        `json:"stderr"`
	Attempts int           `json:"attempts,omitempty"` // including this one
	Decision string        `json:"decision,omitempty"` // what was done then, in words

	before  []extent // of the logs of earlier attempts
	shown   bool     // Options.Mirror has shown the output
	fetched []byte   // output that a logging daemon received
}

// OK reports whether the container ran and exited with status 0.
func (r Result) OK() bool { return r.Err == "" && r.ExitCode == 0 }

// String returns the result in a few words: `exited 3`, `killed by SIGSEGV`, `failed: …`.
func (r Result) String() string {
	switch {
	case r.Err != "":
		return "failed: " + r.Err
	case r.Signal != "":
		return "killed by " + r.Signal
	}
	return fmt.Sprintf("exited %d", r.ExitCode)
}

// outputLimit is the most that Output returns of each log, in bytes.
const outputLimit = 64 << 10

// Output returns what the container wrote in this attempt and Options.Mirror has not
// shown, standard output first, the last 64 KiB of each.
func (r Result) Output() []byte {
	if r.shown {
		return r.fetched
	}
	return append(append(tail(r.Stdout, r.before...), tail(r.Stderr, r.before...)...), r.fetched...)
}

// Log returns the end of what the container wrote in all attempts, standard output
// first.
func (r Result) Log() []byte {
	return append(append(tail(r.Stdout), tail(r.Stderr)...), r.fetched...)
}

// tail returns the end of the log at path, from the start of a line, without what was
// there before. If the file is a new one, it includes the end of the rotated one.
func tail(path string, before ...extent) []byte {
	text, whole := since(path, path, before)
	if whole && len(text) < outputLimit {
		old, _ := since(logs.Old(path), path, before)
		text = append(old, text...)
	}
	if len(text) == 0 {
		return nil
	}
	all := len(text)
	text = text[max(0, all-outputLimit):]
	if text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	if all <= outputLimit {
		return text
	}
	if i := bytes.IndexByte(text, '\n'); i+1 < len(text) {
		text = text[i+1:]
	}
	return append(fmt.Appendf(nil, "(%d bytes more in %s)\n", all-len(text), path), text...)
}

// since returns what was appended to the file after the log's extent before; all of it,
// and whole, when that extent was in another file.
func since(file, log string, before []extent) (text []byte, whole bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, true
	}
	now := sizeOf(file)
	for _, e := range before {
		if e.path == log && e.inode == now.inode && e.size <= int64(len(text)) {
			return text[e.size:], false
		}
	}
	return text, true
}

// Save writes r to DIR/NAME.json.
func Save(dir string, r Result) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot encode result of %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot save result of %s: %w", r.Name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, r.Name+".json"), data, 0o644); err != nil {
		return fmt.Errorf("cannot save result of %s: %w", r.Name, err)
	}
	return nil
}
