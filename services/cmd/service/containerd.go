package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"keelson/runtime/console"
	"keelson/runtime/paths"
	"keelson/runtime/readfile"
	"keelson/runtime/userspace"
	"keelson/services/control"
)

const (
	containerdConfig  = "/etc/containerd/runtime-config.toml"
	containerdProgram = paths.Containerd
	containerdLog     = paths.ContainerdLog
	// configLimit is the most that is read, in bytes. A usual file has three lines.
	configLimit = 1 << 20
)

// containerdSettings are the settings of LinuxKit's runtime-config.toml.
type containerdSettings struct {
	options        []string
	stdout, stderr string // a path, "stdout", "stderr", or "" for the log
}

// startContainerd reads runtime-config.toml and executes containerd with its settings.
// PID 1 starts it instead of containerd when that file exists, since PID 1 does not
// parse it. Bad settings are reported and ignored.
func startContainerd(context.Context, []string, io.Writer) (int, error) {
	settings, err := readContainerdSettings(containerdConfig)
	out, diag, outErr := settings.outputs(containerdLog)
	if err = errors.Join(err, outErr); err != nil {
		complain(err)
	}
	if err := errors.Join(unix.Dup3(out, 1, 0), unix.Dup3(diag, 2, 0)); err != nil {
		return control.CodeFailed, fmt.Errorf("cannot redirect containerd's output: %w", err)
	}
	args := append([]string{containerdProgram}, settings.options...)
	return control.CodeFailed, fmt.Errorf("cannot start %s: %w", containerdProgram, syscall.Exec(containerdProgram, args, os.Environ()))
}

// complain prints an error on the consoles.
func complain(err error) {
	env := userspace.Read()
	c := console.New(console.Options{Devices: consoles(env), Kmsg: env.Machine})
	c.Logger().Error("containerd starts without some of its settings", "error", err)
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	_ = c.Close(ctx) // There is nowhere left to report an error.
}

func readContainerdSettings(path string) (containerdSettings, error) {
	text, err := readfile.Limited(path, configLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return containerdSettings{}, nil
	}
	if err != nil {
		return containerdSettings{}, err
	}
	settings, err := parseContainerdSettings(text)
	if err != nil {
		return settings, fmt.Errorf("%s: %w", path, err)
	}
	return settings, nil
}

// parseContainerdSettings returns the settings that are good, and errors for the rest.
func parseContainerdSettings(text []byte) (s containerdSettings, err error) {
	var found map[string]any
	if err := decode(text, &found); err != nil {
		return s, err
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(found)) {
		value, ok := found[key].(string)
		switch {
		case key != "cliopts" && key != "stdout" && key != "stderr":
			errs = append(errs, fmt.Errorf("%q is not a setting: cliopts, stdout, stderr are", key))
		case !ok:
			errs = append(errs, fmt.Errorf("%s: %v is not a string", key, found[key]))
		case key == "cliopts":
			s.options = strings.Fields(value)
		case value != "stdout" && value != "stderr" && !strings.HasPrefix(value, "/"):
			errs = append(errs, fmt.Errorf("%s: %q is neither a path nor stdout nor stderr", key, value))
		case key == "stdout":
			s.stdout = value
		default:
			s.stderr = value
		}
	}
	return s, errors.Join(errs...)
}

// decode parses TOML. Its errors name line and column.
func decode(text []byte, into *map[string]any) (err error) {
	defer func() {
		if r := recover(); r != nil { // containerd starts even if the parser panics
			err = fmt.Errorf("cannot be read as TOML: %v", r)
		}
	}()
	err = toml.Unmarshal(text, into)
	if where, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := where.Position()
		return fmt.Errorf("line %d, column %d, key %q: %w", line, column, strings.Join(where.Key(), "."), err)
	}
	return err
}

// outputs opens containerd's output. "stdout" and "stderr" mean those of this process.
func (s containerdSettings) outputs(log string) (out, diag int, err error) {
	out, outErr := openOutput(s.stdout, log)
	diag, diagErr := openOutput(s.stderr, log)
	return out, diag, errors.Join(outErr, diagErr)
}

// openOutput returns a file descriptor other than 1 and 2, with close-on-exec set. If the
// file cannot be opened, it is one of the log, or of this process's stderr.
func openOutput(name, log string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOCTTY | unix.O_CLOEXEC
	switch name {
	case "stdout":
		return unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	case "stderr":
		return unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	case "":
		name = log
	}
	fd, err := unix.Open(name, flags, 0o644)
	if err == nil {
		return fd, nil
	}
	err = fmt.Errorf("cannot write containerd's output: %w", &fs.PathError{Op: "open", Path: name, Err: err})
	if name != log {
		fd, logErr := openOutput("", log)
		return fd, errors.Join(err, logErr)
	}
	fd, dupErr := openOutput("stderr", log)
	return fd, errors.Join(err, dupErr)
}
