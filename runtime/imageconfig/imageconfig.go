// Package imageconfig merges what a container image says of its process with settings that
// have precedence. The image builder and the machine, which swaps a service for a plain
// container image, share it.
//
// The rule is LinuxKit's: a setting of the YAML file replaces that of the image's label,
// which replaces that of the image's configuration. The user of an image is not used, as in
// LinuxKit: a container runs as root unless its YAML file or label names a user.
//
// Sources: the OCI image specification (config.md, conversion.md); LinuxKit's docs/yaml.md.
package imageconfig

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Label is the image label that holds settings of a container, as JSON.
const Label = "org.mobyproject.config"

// StopSignalKey is the annotation of a bundle that an image's stop signal becomes
// (conversion.md).
const StopSignalKey = "org.opencontainers.image.stopSignal"

// Fields are the settings of a container that its image can give. A nil list and an empty
// text are not set; an empty list is set.
type Fields struct {
	Command    []string
	Env        []string
	Cwd        string
	StopSignal string
}

// Merge returns the first value that is set of each field. The working directory is / if it
// is set nowhere.
func Merge(levels ...Fields) (merged Fields) {
	for _, l := range levels {
		merged.Command = first(merged.Command, l.Command)
		merged.Env = first(merged.Env, l.Env)
		merged.Cwd = cmp.Or(merged.Cwd, l.Cwd)
		merged.StopSignal = cmp.Or(merged.StopSignal, l.StopSignal)
	}
	merged.Cwd = cmp.Or(merged.Cwd, "/")
	return merged
}

func first(a, b []string) []string {
	if a != nil {
		return a
	}
	return b
}

// Image is the part "config" of an image's configuration (config.md).
type Image struct {
	User       string            `json:"User"`
	Entrypoint []string          `json:"Entrypoint"`
	Cmd        []string          `json:"Cmd"`
	Env        []string          `json:"Env"`
	WorkingDir string            `json:"WorkingDir"`
	StopSignal string            `json:"StopSignal"`
	Labels     map[string]string `json:"Labels"`
}

// Fields returns what the configuration sets, without its label.
func (i Image) Fields() Fields {
	return Fields{Command: slices.Concat(i.Entrypoint, i.Cmd), Env: i.Env, Cwd: i.WorkingDir, StopSignal: i.StopSignal}
}

// Parse reads an image's configuration. It returns the part "config", and what the label in
// it sets of Fields.
func Parse(text []byte) (image Image, label Fields, err error) {
	var whole struct {
		Config Image `json:"config"`
	}
	if err := json.Unmarshal(text, &whole); err != nil {
		return image, label, fmt.Errorf("cannot read the configuration of the image: %w", err)
	}
	label, err = parseLabel(whole.Config.Labels[Label])
	return whole.Config, label, err
}

func parseLabel(text string) (Fields, error) {
	if text == "" {
		return Fields{}, nil
	}
	var fields struct {
		Command []string `json:"command"`
		Env     []string `json:"env"`
		Cwd     string   `json:"cwd"`
	}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return Fields{}, fmt.Errorf("cannot read label %s of the image: %w", Label, err)
	}
	return Fields{Command: fields.Command, Env: fields.Env, Cwd: fields.Cwd}, nil
}

// Names of fields in the annotation keelson.swap.keep.
const (
	Command    = "command"
	Env        = "env"
	Cwd        = "cwd"
	StopSignal = "stop-signal"
)

// Names are the names of all fields.
func Names() []string { return []string{Command, Env, Cwd, StopSignal} }

// Set returns the names of the fields that are set.
func (f Fields) Set() (names []string) {
	for _, one := range []struct {
		name string
		set  bool
	}{{Command, f.Command != nil}, {Env, f.Env != nil}, {Cwd, f.Cwd != ""}, {StopSignal, f.StopSignal != ""}} {
		if one.set {
			names = append(names, one.name)
		}
	}
	return names
}

// Only returns the fields with these names. The lists are set then, also if they are empty.
func (f Fields) Only(names []string) (only Fields) {
	for _, name := range names {
		switch name {
		case Command:
			only.Command = append([]string{}, f.Command...)
		case Env:
			only.Env = append([]string{}, f.Env...)
		case Cwd:
			only.Cwd = f.Cwd
		case StopSignal:
			only.StopSignal = f.StopSignal
		}
	}
	return only
}

// Check returns an error for settings that cannot run.
func (f Fields) Check() error {
	if len(f.Command) == 0 {
		return errors.New("there is no command: the image has neither Entrypoint nor Cmd, and the YAML of the service has no command")
	}
	return nil
}
