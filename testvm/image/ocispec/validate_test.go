package ocispec

import (
	"errors"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/testvm/image/config"
)

// A setting that runc refuses (package bundle tests that with runc) is an error about the
// field of the YAML file that causes it.
func TestValidate(t *testing.T) {
	ownUsers := map[string]string{"keelson.userns": "auto"}
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	for name, c := range map[string]struct {
		yaml  config.ImageConfig
		field string // empty: accepted
	}{
		"nothing special":      {config.ImageConfig{}, ""},
		"no command":           {config.ImageConfig{Command: []string{}}, "command"},
		"relative folder":      {config.ImageConfig{Cwd: "x"}, "cwd"},
		"variable":             {config.ImageConfig{Env: []string{"A"}}, "env"},
		"score":                {config.ImageConfig{OOMScoreAdj: ptr(2000)}, "oomScoreAdj"},
		"limit":                {config.ImageConfig{Rlimits: []string{"nofile,1,2", "core,2,1"}}, "rlimits[1]"},
		"user of no mapping":   {config.ImageConfig{Userns: "new", Net: "new", UIDMappings: mapping, GIDMappings: mapping, UID: &config.ID{Num: 70000}}, "uid"},
		"userns alone":         {config.ImageConfig{Userns: "new", Net: "new"}, "userns"},
		"userns with mappings": {config.ImageConfig{Userns: "new", Net: "new", UIDMappings: mapping, GIDMappings: mapping}, ""},
		"userns, host's net":   {config.ImageConfig{Userns: "new", UIDMappings: mapping, GIDMappings: mapping}, "mounts"},
		"userns joined":        {config.ImageConfig{Userns: "/run/ns/user"}, ""},
		"mappings alone":       {config.ImageConfig{UIDMappings: mapping}, "uidMappings"},
		"own users":            {config.ImageConfig{Annotations: ownUsers, Binds: []string{"/a:/a:rw,idmap"}}, ""},
		"own users, twice":     {config.ImageConfig{Annotations: ownUsers, Userns: "new", Net: "new", UIDMappings: mapping, GIDMappings: mapping}, "userns"},
		"own users, mappings":  {config.ImageConfig{Annotations: ownUsers, UIDMappings: mapping}, "uidMappings"},
		"own users, pids":      {config.ImageConfig{Annotations: ownUsers, PID: "host"}, "mounts"},
		"user of no range":     {config.ImageConfig{Annotations: ownUsers, UID: &config.ID{Num: 70000}}, "uid"},
		"ID-mapped bind":       {config.ImageConfig{Binds: []string{"/a:/a:rw,idmap"}}, "binds[0]"},
		"host name":            {config.ImageConfig{Hostname: "x"}, "hostname"},
		"sysctl net":           {config.ImageConfig{Sysctl: map[string]string{"net.ipv4.ip_forward": "1"}}, "sysctl"},
		"sysctl net, new":      {config.ImageConfig{Net: "new", Sysctl: map[string]string{"net/ipv4/conf/eth0.1/rp_filter": "1"}}, ""},
		"no propagation":       {config.ImageConfig{RootfsPropagation: ptr("everywhere")}, "rootfsPropagation"},
		"devices":              {config.ImageConfig{Devices: []config.Device{{Path: "all", Type: "b"}, {Path: "/dev/x", Type: "u", Mode: "0600"}, {Path: "/dev/p", Type: "p", Mode: "0600"}}}, ""},
		"device of no type":    {config.ImageConfig{Devices: []config.Device{{Path: "all", Type: "b"}, {Path: "/dev/x", Type: "x", Mode: "0600"}}}, "devices[1]"},
		"bind":                 {config.ImageConfig{Binds: []string{"/a:/a", "/b:/b:size=1"}}, "binds[1]"},
		"bind added":           {config.ImageConfig{BindsAdd: []string{"/b:/b:size=1"}}, "binds.add"},
		"tmpfs":                {config.ImageConfig{Tmpfs: []string{"/proc/x:size=1m"}}, "tmpfs[0]"},
		"mount":                {config.ImageConfig{Mounts: []specs.Mount{{Destination: "/a", Source: "/a", Type: "bind"}}}, "mounts[0]"},
	} {
		if c.yaml.Command == nil {
			c.yaml.Command = []string{"/x"}
		}
		s, err := Spec(Container{YAML: c.yaml})
		if err != nil {
			t.Fatal(err)
		}
		var fe *FieldError
		errs := Validate(Container{YAML: c.yaml}, s)
		if c.field == "" && len(errs) > 0 || c.field != "" && (len(errs) == 0 || !errors.As(errs[0], &fe) || fe.Field != c.field) {
			t.Errorf("%s: %v, want an error about %q", name, errs, c.field)
		}
	}
}
