package reader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"keelson/runtime/boots"
	"keelson/runtime/kmsg"
	"keelson/runtime/logs"
	"keelson/runtime/paths"
	"keelson/runtime/timeline"
)

// Set says where the logs of a system are. Logs that do not exist are left out.
type Set struct {
	Folders  []string // of log files
	Kmsg     string   // the kernel log
	Timeline string   // keelson's messages, if there is no kernel log
	Query    string   // socket of a logging daemon
	Boots    string   // folder of the boots that are kept (package boots)

	view *view // nil: all boots
}

// System returns the logs of the system that runs.
func System() Set {
	return Set{
		Folders: []string{paths.Logs, "/run/log/onboot", "/run/log/onshutdown"},
		Kmsg:    "/dev/kmsg", Timeline: timeline.Path, Query: logs.QuerySocket, Boots: boots.Dir,
	}
}

// Names returns the names of the logs that match one of the patterns (path.Match); of all
// without patterns.
func (s Set) Names(patterns ...string) ([]string, error) {
	found, err := s.files(patterns)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found {
		names = append(names, f.name)
	}
	for _, name := range []string{kernelName, keelsonName} {
		if s.has(name) && matches(patterns, name) {
			names = append(names, name)
		}
	}
	for line, err := range s.dump() {
		if name, _ := daemonStream(line.Name); err == nil && matches(patterns, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// has reports whether a log that is not a file exists.
func (s Set) has(name string) bool {
	if b, ended := s.boot(); ended {
		return b.HasKernelLog()
	}
	if kmsg.Exists(s.Kmsg) {
		return true
	}
	if name != keelsonName {
		return false
	}
	_, err := os.Stat(s.Timeline)
	return err == nil
}

// logFile is a log in files.
type logFile struct{ path, name, stream string }

// files returns the logs in the folders.
func (s Set) files(patterns []string) ([]logFile, error) {
	var all []logFile
	for _, dir := range s.Folders {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot list logs: %w", err)
		}
		for _, e := range entries {
			base, _ := cutNumber(e.Name())
			l, ok := parseName(base)
			if !ok || !matches(patterns, l.name) || !e.Type().IsRegular() {
				continue
			}
			l.path = filepath.Join(dir, base)
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all, nil
}

// parseName returns what the name of a file says.
func parseName(base string) (l logFile, ok bool) {
	name, ok := strings.CutSuffix(base, ".log")
	if !ok || name == "" || strings.HasPrefix(base, ".") {
		return l, false
	}
	l = logFile{name: name, stream: Stderr}
	if name == containerdName {
		l.stream = ""
	}
	if name, ok := strings.CutSuffix(name, ".out"); ok && name != "" {
		l.name, l.stream = name, Stdout
	}
	return l, true
}

// matches reports whether a name is one of the patterns, or matches it.
func matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return p == name || ok && err == nil
	})
}
