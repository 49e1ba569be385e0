package daemon

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]options{
		"": {},
		"-c /a --log-level debug --address=/run/x.sock": {config: "/a", level: "debug", address: "/run/x.sock"},
		"--config /a -l warn -a b --root r --state s":   {config: "/a", level: "warn", address: "b", root: "r", state: "s"},
		"--version": {version: true},
		"-v":        {version: true},
		"--help":    {help: true},
	} {
		if got, err := parse(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for line, word := range map[string]string{"--adress x": "adress", "config dump": `"config"`, "--root": "root"} {
		if _, err := parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "usage:") {
			t.Errorf("%q: %v does not name %s", line, err, word)
		}
	}
}

// writeConfig writes a configuration file and returns its path.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfiguration(t *testing.T) {
	const file = "version = 3\nroot = \"/r\"\nstate = \"/s\"\n[grpc]\naddress = \"/file.sock\"\nuid = 7\n[debug]\nlevel = \"warn\"\n"
	own := map[string]any{"address": "/own"}
	for name, tc := range map[string]struct {
		text, state string
		options     options
		grpc, ttrpc map[string]any
	}{
		"file":          {file, "/s", options{}, map[string]any{"address": "/file.sock"}, map[string]any{"address": "/file.sock.ttrpc"}},
		"flags":         {file, "/t", options{address: "/flag", state: "/t"}, map[string]any{"address": "/flag"}, map[string]any{"address": "/file.sock.ttrpc"}},
		"only a flag":   {"version = 4\n", "/run/containerd", options{address: "/flag"}, map[string]any{"address": "/flag"}, map[string]any{"address": "/flag.ttrpc"}},
		"ttrpc has own": {"version = 4\n[plugins.\"" + ttrpcPlugin + "\"]\naddress = \"/own\"\n", "/run/containerd", options{address: "/flag"}, map[string]any{"address": "/flag"}, own},
	} {
		tc.options.config = writeConfig(t, tc.text)
		c, err := tc.options.configuration(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.State != tc.state || !has(c.Plugins[grpcPlugin], tc.grpc) || !has(c.Plugins[ttrpcPlugin], tc.ttrpc) {
			t.Errorf("%s: state %s, plugins %v", name, c.State, c.Plugins)
		}
	}
}

// has reports whether table has the keys and values of want.
func has(table any, want map[string]any) bool {
	all, _ := table.(map[string]any)
	for key, value := range maps.All(want) {
		if !reflect.DeepEqual(all[key], value) {
			return false
		}
	}
	return true
}

// Errors name the file, and the line or key in it.
func TestBadConfiguration(t *testing.T) {
	for text, words := range map[string][]string{
		"version = 3\nroot = /no/quotes\n":                     {"line 2"},
		"version = 3\nroot = 7\n":                              {"line 2"},
		"version = 4\n[plugins]\n\"" + grpcPlugin + "\" = 3\n": {grpcPlugin},
	} {
		path := writeConfig(t, text)
		_, err := options{config: path, address: "/x"}.configuration(t.Context())
		for _, word := range append(words, path) {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %v does not name %s", text, err, word)
			}
		}
	}
	if _, err := (options{config: "/no/such/file"}).configuration(t.Context()); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("a file that does not exist: %v", err)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add([]byte("version = 3\n[plugins.\"a\"]\nb = 1\n"), "/x")
	f.Add([]byte("imports = [\"x\"]\nversion = 2\n"), "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, address string) {
		path := filepath.Join(dir, "config.toml")
		if bytes.Contains(text, []byte("imports")) {
			t.Skip("reads other files")
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := options{config: path, address: address}.configuration(t.Context())
		if err == nil && address != "" && !has(c.Plugins[grpcPlugin], map[string]any{"address": address}) {
			t.Errorf("%q, address %q: %v", text, address, c.Plugins)
		}
	})
}
