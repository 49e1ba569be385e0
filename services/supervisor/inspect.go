package supervisor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"

	"keelson/runtime/bundle"
	"keelson/runtime/paths"
	"keelson/runtime/readfile"
	"keelson/services/control"
)

// inspectLimit is the largest configuration that is shown, in bytes.
const inspectLimit = 4 << 20

// Inspect returns the configuration of a service. Files are read in the goroutine of the client.
func (s *Supervisor) Inspect(name string) (control.Inspection, error) {
	var i control.Inspection
	var state string // of its container
	err := s.ask(func() error {
		svc := s.services.byName[name]
		if svc == nil {
			return fmt.Errorf("%w: %s", control.ErrNotFound, name)
		}
		i = control.Inspection{Name: name, Bundle: svc.dir, Settings: svc.settings().Annotations()}
		if svc.task != nil && svc.pid > 0 {
			id := cmp.Or(svc.instance, name)
			state = filepath.Join(paths.ContainerdState, "io.containerd.runtime.v2.task", svc.namespace(), id, bundle.ConfigFile)
		}
		return nil
	})
	if err != nil {
		return i, err
	}
	if state != "" {
		if i.Config, err = readConfig(state); err == nil {
			i.Effective = true
			return i, nil
		}
	}
	i.Config, err = readConfig(filepath.Join(i.Bundle, bundle.ConfigFile))
	return i, err
}

// Container returns where a service runs, for programs that are to run beside it.
func (s *Supervisor) Container(name string) (c control.Container, err error) {
	err = s.ask(func() error {
		svc := s.services.byName[name]
		switch {
		case svc == nil:
			return fmt.Errorf("%w: %s", control.ErrNotFound, name)
		case svc.task == nil || svc.pid <= 0:
			return fmt.Errorf("%s does not run: it is %s", name, svc.state)
		}
		c = control.Container{Service: name, Namespace: svc.namespace(), ID: cmp.Or(svc.instance, name), PID: svc.pid}
		return nil
	})
	return c, err
}

// readConfig reads config.json. Its numbers stay as they are.
func readConfig(path string) (config map[string]any, err error) {
	text, err := readfile.Limited(path, inspectLimit)
	if err != nil {
		return nil, fmt.Errorf("cannot show the configuration: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&config); err != nil {
		return nil, fmt.Errorf("cannot show the configuration: %s: %w", path, err)
	}
	return config, nil
}
