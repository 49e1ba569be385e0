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

// Result is how a container ended. It is kept as JSON in /run/keelson.
type Result struct {
	Name     string        `json:"name"`
	ExitCode int           `json:"exitCode"`         // 128+N after signal N; -1: it did not run
	Signal   string        `json:"signal,omitempty"` // such as SIGSEGV
	Err      string        `json:"err,omitempty"`    // it did not run, or was ended
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took"`   // nanoseconds
	Stdout   string        `json:"stdout"` // file; empty: a logging daemon has it
	Stderr   string        `json:"stderr"`
	Attempts int           `json:"attempts,omitempty"` // this one included
	Decision string        `json:"decision,omitempty"` // what was done about it, in words

	before  []extent // of the logs of earlier attempts
	shown   bool     // the output has been shown as it came
	fetched []byte   // what a logging daemon got of it
}

// OK tells whether the container ran and exited with status 0.
func (r Result) OK() bool { return r.Err == "" && r.ExitCode == 0 }

// String is the result in a few words: `exited 3`, `killed by SIGSEGV`,
// `failed: …`.
func (r Result) String() string {
	switch {
	case r.Err != "":
		return "failed: " + r.Err
	case r.Signal != "":
		return "killed by " + r.Signal
	}
	return fmt.Sprintf("exited %d", r.ExitCode)
}

// outputLimit is what Output shows of each file.
const outputLimit = 64 << 10

// Output is what the container wrote and nobody has seen yet, standard output
// first, the last 64 KiB of each.
func (r Result) Output() []byte {
	if r.shown {
		return r.fetched
	}
	return append(append(tail(r.Stdout, r.before...), tail(r.Stderr, r.before...)...), r.fetched...)
}

// Log is the end of all that the container wrote, in this attempt and those
// before it, standard output first.
func (r Result) Log() []byte {
	return append(append(tail(r.Stdout), tail(r.Stderr)...), r.fetched...)
}

// tail is the end of the log at path, from the start of a line, without what
// was there before. The file may just have been begun: what came before is in
// the one that it follows.
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

// since is what is in the file beyond the log's extent before, if that was in
// this one; whole: it was not.
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
