package ocispec

import (
	"errors"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/testvm/image/config"
)

// What runc refuses is refused, with the field's name, and what it accepts is
// accepted.
func TestValidate(t *testing.T) {
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	for name, c := range map[string]struct {
		yaml  config.ImageConfig
		field string // empty: accepted
	}{
		"nothing special":      {config.ImageConfig{}, ""},
		"no command":           {config.ImageConfig{Command: []string{}}, "command"},
		"relative folder":      {config.ImageConfig{Cwd: "x"}, "cwd"},
		"userns alone":         {config.ImageConfig{Userns: "new"}, "userns"},
		"userns with mappings": {config.ImageConfig{Userns: "new", UIDMappings: mapping, GIDMappings: mapping}, ""},
		"userns joined":        {config.ImageConfig{Userns: "/run/ns/user"}, ""},
		"mappings alone":       {config.ImageConfig{UIDMappings: mapping}, "uidMappings"},
		"host name":            {config.ImageConfig{Hostname: "x"}, "hostname"},
		"host name of its own": {config.ImageConfig{Hostname: "x", UTS: "new"}, ""},
		"sysctl net":           {config.ImageConfig{Sysctl: map[string]string{"net.ipv4.ip_forward": "1"}}, "sysctl"},
		"sysctl net slashes":   {config.ImageConfig{Sysctl: map[string]string{"net/ipv4/conf/eth0.1/rp_filter": "1"}}, "sysctl"},
		"sysctl net, new":      {config.ImageConfig{Net: "new", Sysctl: map[string]string{"net/ipv4/conf/eth0.1/rp_filter": "1"}}, ""},
		"sysctl net, none":     {config.ImageConfig{Net: "none", Sysctl: map[string]string{"net.ipv4.ip_forward": "1"}}, ""},
		"sysctl net, joined":   {config.ImageConfig{Net: "/run/netns/x", Sysctl: map[string]string{"net.ipv4.ip_forward": "1"}}, ""},
		"sysctl net, PID 1's":  {config.ImageConfig{Net: "/proc/1/ns/net", Sysctl: map[string]string{"net.ipv4.ip_forward": "1"}}, "sysctl"},
		"sysctl ipc":           {config.ImageConfig{Sysctl: map[string]string{"kernel.shmmax": "1"}}, "sysctl"},
		"sysctl ipc, new":      {config.ImageConfig{IPC: "new", Sysctl: map[string]string{"kernel.shmmax": "1", "fs.mqueue.msg_max": "1"}}, ""},
		"sysctl user":          {config.ImageConfig{Sysctl: map[string]string{"user.max_inotify_instances": "1"}}, "sysctl"},
		"sysctl host name":     {config.ImageConfig{UTS: "new", Sysctl: map[string]string{"kernel.hostname": "x"}}, "sysctl"},
		"sysctl domain name":   {config.ImageConfig{UTS: "new", Sysctl: map[string]string{"kernel.domainname": "x"}}, ""},
		"sysctl vm":            {config.ImageConfig{Sysctl: map[string]string{"vm.overcommit_memory": "1"}}, "sysctl"},
		"propagation":          {config.ImageConfig{RootfsPropagation: ptr("rshared")}, ""},
		"no propagation":       {config.ImageConfig{RootfsPropagation: ptr("everywhere")}, "rootfsPropagation"},
		"device":               {config.ImageConfig{Devices: []config.Device{{Path: "/dev/x", Type: "c", Mode: "0600"}}}, ""},
		"device of no type":    {config.ImageConfig{Devices: []config.Device{{Path: "/dev/x", Type: "x", Mode: "0600"}}}, "devices"},
		"device at no path":    {config.ImageConfig{Devices: []config.Device{{Path: "x", Type: "c", Mode: "0600"}}}, "devices"},
	} {
		if c.yaml.Command == nil {
			c.yaml.Command = []string{"/x"}
		}
		s, err := Spec(Container{YAML: c.yaml})
		if err != nil {
			t.Fatal(err)
		}
		var fe *FieldError
		err = Validate(s)
		if c.field == "" && err != nil || c.field != "" && (!errors.As(err, &fe) || fe.Field != c.field) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.field)
		}
	}
}
