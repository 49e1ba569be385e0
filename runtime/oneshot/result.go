package oneshot

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
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

	shown   bool   // the output has been shown as it came
	fetched []byte // what a logging daemon got of it
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
	return append(append(tail(r.Stdout), tail(r.Stderr)...), r.fetched...)
}

// tail is the end of the file at path, from the start of a line.
func tail(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(0, info.Size()-outputLimit)
	text, err := io.ReadAll(io.NewSectionReader(f, from, outputLimit))
	if err != nil || len(text) == 0 {
		return nil
	}
	if text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	if from == 0 {
		return text
	}
	if _, rest, ok := strings.Cut(string(text), "\n"); ok {
		text = []byte(rest)
	}
	return append(fmt.Appendf(nil, "(%d bytes more in %s)\n", info.Size()-int64(len(text)), path), text...)
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

// Load reads the results in dir, in the order of their names. What is no
// result is left out.
func Load(dir string) ([]Result, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("cannot read results: %w", err)
	}
	var results []Result
	for _, path := range paths { // Glob sorts
		data, err := os.ReadFile(path)
		if err != nil {
			return results, fmt.Errorf("cannot read result: %w", err)
		}
		var r Result
		if json.Unmarshal(data, &r) == nil && r.Name != "" {
			results = append(results, r)
		}
	}
	return results, nil
}
