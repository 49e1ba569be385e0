package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/services/gate/endpoint"
)

// parseCtl reads a command line. Neither the environment nor a file of the user's has an effect.
func parseCtl(t *testing.T, args ...string) *cli {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(t.TempDir(), "none"))
	var c cli
	if _, err := newParser(&c).Parse(append([]string{"ctl"}, args...)); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return &c
}

// Options come before the verb; what follows it is the verb's.
func TestCtlVerb(t *testing.T) {
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"restart", "web", "redis"}, {"events", "-f", "--endpoint"}, {"swap", "-programs", "-"}, {"help"}} {
		c := parseCtl(t, append([]string{"--endpoint", "unix:x"}, args...)...)
		if !slices.Equal(c.Ctl.Verb.Args, args) || c.Ctl.Endpoint != "unix:x" {
			t.Errorf("%q: %+v", args, c.Ctl)
		}
	}
}

// Options have precedence over the environment, that over the file, and that over the folder.
func TestCtlEndpoint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ctl.yml")
	text := "current: box\nendpoints:\n  box: {endpoint: \"tcp://box:1\", ca: box.ca, cert: /box.crt, key: box.key, server-name: other}\n  vm: {endpoint: \"unix:vm\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	box := endpoint.Config{Address: "tcp://box:1", CA: in("box.ca"), Cert: "/box.crt", Key: in("box.key"), ServerName: "other"}
	own := box
	own.Cert, own.ServerName = "/mine.crt", "third"
	for _, tt := range []struct {
		args        []string
		environment string
		want        endpoint.Config
	}{
		{[]string{"--config", file}, "", box},
		{[]string{"--config", file, "--cert", "/mine.crt", "--server-name", "third"}, "", own},
		{[]string{"--config", file, "--on", "vm", "--keys", "/k", "--as", "rita"}, "", endpoint.Config{Address: "unix:vm", CA: "/k/ca.crt", Cert: "/k/clients/rita.crt", Key: "/k/clients/rita.key"}},
		{[]string{"--endpoint", "vsock://3:1", "--keys", "/k"}, "tcp://env:1", endpoint.Config{Address: "vsock://3:1", CA: "/k/ca.crt", Cert: "/k/clients/admin.crt", Key: "/k/clients/admin.key"}},
		{[]string{"--keys", "/k"}, "tcp://env:1", endpoint.Config{Address: "tcp://env:1", CA: "/k/ca.crt", Cert: "/k/clients/admin.crt", Key: "/k/clients/admin.key"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			if tt.environment != "" {
				t.Setenv("KEELSON_CTL_ENDPOINT", tt.environment)
			}
			c := parseCtl(t, append(tt.args, "list")...)
			if got, err := c.Ctl.endpoint(); err != nil || got != tt.want {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	for problem, args := range map[string][]string{
		"no endpoint is named":           nil,
		`no endpoint "x"; it has: box`:   {"--config", file, "--on", "x"},
		"cannot read the file with endp": {"--config", in("none")},
	} {
		c := parseCtl(t, append(args, "list")...)
		if got, err := c.Ctl.endpoint(); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %+v, %v", args, got, err)
		}
	}
	if _, err := find("f", []byte("endpoint: x\n"), ""); err == nil || !strings.Contains(err.Error(), "unknown field") {
		t.Errorf("a file with an unknown key: %v", err)
	}
}
