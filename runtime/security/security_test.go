package security

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// isolated returns a configuration without findings.
func isolated() *specs.Spec {
	limit := int64(100)
	return &specs.Spec{
		Process: &specs.Process{
			User: specs.User{UID: 1000, GID: 1000}, Args: []string{"/web"}, Cwd: "/",
			NoNewPrivileges: true, Capabilities: &specs.LinuxCapabilities{},
		},
		Root: &specs.Root{Path: "rootfs", Readonly: true},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
			{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/etc/web", Type: "bind", Source: "/etc/web", Options: []string{"ro", "rbind"}},
		},
		Annotations: map[string]string{"keelson.seccomp": "default"},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
			},
			MaskedPaths: slices.Clone(maskedPaths), ReadonlyPaths: slices.Clone(readonlyPaths),
			Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Pids: &specs.LinuxPids{Limit: &limit}},
		},
	}
}

func bundleOf(s *specs.Spec) *bundle.Bundle {
	b := &bundle.Bundle{Name: "web", Spec: s}
	b.Settings, b.Warnings = bundle.ParseSettings(s.Annotations)
	b.ApplyCapabilities()
	return b
}

func bind(source string, options ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: source, Options: append(options, "rbind")})
	}
}

func asRoot(changes ...func(*specs.Spec)) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Process.User = specs.User{}
		for _, change := range changes {
			change(s)
		}
	}
}

func held(names ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Permitted: names, Effective: names, Inheritable: names}
	}
}

func device(kind string, major, minor int64, access string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		number := func(n int64) *int64 {
			if n < 0 {
				return nil
			}
			return &n
		}
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices,
			specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: number(major), Minor: number(minor), Access: access})
	}
}

func namespace(kind specs.LinuxNamespaceType, path string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
		if path != "host" {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
		}
	}
}

func mapped(host uint32) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: host, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}
}

func ownUsers(s *specs.Spec) { s.Annotations["keelson.userns"] = "auto" }

// bundles have changes of an isolated bundle, and the findings that they cause: weight,
// field and item.
var bundles = []struct {
	name   string
	change func(*specs.Spec)
	want   []string
}{
	{"isolated", func(*specs.Spec) {}, nil},

	{"root", asRoot(), []string{"2.0 process.user.uid"}},
	{"root, mapped", asRoot(mapped(100000)), nil},
	{"root, mapped to root", asRoot(mapped(0)), []string{"2.0 process.user.uid"}},
	{"root, own users", asRoot(ownUsers), nil},
	{"group of root, own users", func(s *specs.Spec) { ownUsers(s); s.Process.User.GID = 0 }, nil},
	{"capabilities with own users", asRoot(ownUsers, held("CAP_SYS_ADMIN")), []string{"1.6 process.capabilities=CAP_SYS_ADMIN"}},
	{"/etc with own users", asRoot(ownUsers, bind("/etc", "rw")), []string{"0.6 mounts=/etc:/x"}},
	{"/etc with own users, ID-mapped", asRoot(ownUsers, bind("/etc", "rw", "idmap")), []string{"6.0 mounts=/etc:/x"}},
	{"set of capabilities", asRoot(ownUsers, held("CAP_SYS_ADMIN"), func(s *specs.Spec) { s.Annotations["keelson.capabilities"] = "none" }), nil},
	{"group of root", func(s *specs.Spec) { s.Process.User.GID = 0 }, []string{"0.3 process.user.gid"}},
	{"may gain privileges", func(s *specs.Spec) { s.Process.NoNewPrivileges = false }, []string{"0.5 process.noNewPrivileges"}},

	{"no filter", func(s *specs.Spec) { s.Annotations = nil }, []string{"1.5 linux.seccomp"}},
	{"no filter, misspelt", func(s *specs.Spec) { s.Annotations["keelson.seccomp"] = "Default" }, []string{"1.5 linux.seccomp"}},
	{"empty filter", func(s *specs.Spec) { s.Annotations, s.Linux.Seccomp = nil, &specs.LinuxSeccomp{} }, []string{"1.5 linux.seccomp"}},
	{"own filter", func(s *specs.Spec) {
		s.Annotations, s.Linux.Seccomp = nil, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	}, nil},
	{"own filter that allows", func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow} }, []string{"0.8 linux.seccomp=defaultAction"}},

	{"no capabilities field", asRoot(func(s *specs.Spec) { s.Process.Capabilities = nil }), []string{"9.5 process.capabilities=all", "2.0 process.user.uid"}},
	{"all capabilities", asRoot(func(s *specs.Spec) {
		var all []string
		for _, c := range known {
			all = append(all, c.name)
		}
		held(all...)(s)
	}), []string{"9.5 process.capabilities=all", "2.0 process.user.uid"}},
	{"some capabilities", asRoot(held("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_NEW")),
		[]string{"8.0 process.capabilities=CAP_SYS_ADMIN", "3.0 process.capabilities=CAP_NET_ADMIN", "2.0 process.user.uid", "1.0 process.capabilities=CAP_NEW"}},
	{"capabilities of a user", held("CAP_SYS_ADMIN"), nil},
	{"capabilities of a user who may get them", func(s *specs.Spec) { held("CAP_SYS_ADMIN")(s); s.Process.NoNewPrivileges = false },
		[]string{"4.0 process.capabilities=CAP_SYS_ADMIN", "0.5 process.noNewPrivileges"}},
	{"ambient", func(s *specs.Spec) { s.Process.Capabilities.Ambient = []string{"CAP_SYS_ADMIN"} }, []string{"8.0 process.capabilities=CAP_SYS_ADMIN"}},
	{"capabilities in a user namespace", asRoot(mapped(100000), held("CAP_SYS_ADMIN")), []string{"1.6 process.capabilities=CAP_SYS_ADMIN"}},

	{"host's namespaces", func(s *specs.Spec) { s.Linux.Namespaces = nil }, []string{"9.0 linux.namespaces=mount", "1.5 linux.namespaces=pid",
		"1.0 linux.namespaces=network", "0.5 linux.namespaces=ipc", "0.2 linux.namespaces=uts"}},
	{"host's network by path", namespace(specs.NetworkNamespace, "/proc/1/ns/net"), []string{"1.0 linux.namespaces=network"}},
	{"network of another", namespace(specs.NetworkNamespace, "/run/netns/web"), []string{"0.5 linux.namespaces=network"}},

	{"writable root", func(s *specs.Spec) { s.Root.Readonly = false }, []string{"0.4 root.readonly"}},
	{"shared mounts", func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" }, []string{"0.5 linux.rootfsPropagation"}},
	{"writable sysfs of root", asRoot(func(s *specs.Spec) { s.Mounts[1].Options = nil }), []string{"3.0 mounts=sysfs:/sys", "2.0 process.user.uid"}},
	{"writable cgroups of root", asRoot(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Type: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup"})
	}), []string{"2.0 process.user.uid", "1.5 mounts=cgroup:/sys/fs/cgroup"}},
	{"delegated cgroups", func(s *specs.Spec) { s.Annotations["keelson.delegate"] = "true" }, []string{"0.3 annotations=keelson.delegate"}},
	{"debugfs of root", asRoot(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Type: "debugfs", Source: "debugfs", Destination: "/d"})
	}), []string{"5.0 mounts=debugfs:/d", "2.0 process.user.uid"}},

	{"data", bind("/var/lib/web", "rw"), []string{"0.3 mounts=/var/lib/web:/x"}},
	{"data, read-only", bind("/var/lib/web", "rw", "ro"), nil},
	{"all files", asRoot(bind("/")), []string{"9.0 mounts=/:/x", "2.0 process.user.uid"}},
	{"all files, read-only", asRoot(bind("/", "ro")), []string{"9.0 mounts=/:/x", "2.0 process.user.uid"}}, // also sockets
	{"all files, for a user", bind("/"), []string{"0.9 mounts=/:/x"}},
	{"all files, for a user with root's access", func(s *specs.Spec) { bind("/")(s); s.Process.Capabilities.Ambient = []string{"CAP_DAC_OVERRIDE"} },
		[]string{"9.0 mounts=/:/x", "2.0 process.capabilities=CAP_DAC_OVERRIDE"}},
	{"containerd's socket", asRoot(bind("/var/run/containerd/containerd.sock", "ro")), []string{"9.0 mounts=/var/run/containerd/containerd.sock:/x", "2.0 process.user.uid"}},
	{"/run", asRoot(bind("/run", "ro")), []string{"9.0 mounts=/run:/x", "2.0 process.user.uid"}},
	{"a file in /run", asRoot(bind("/run/web.sock", "ro")), []string{"2.0 process.user.uid"}},
	{"supervisor's socket", asRoot(bind("/run/keelson/control.sock")), []string{"7.0 mounts=/run/keelson/control.sock:/x", "2.0 process.user.uid"}},
	{"/etc", asRoot(bind("/etc")), []string{"6.0 mounts=/etc:/x", "2.0 process.user.uid"}},
	{"/etc, read-only", asRoot(bind("/etc", "ro")), []string{"2.0 process.user.uid", "0.5 mounts=/etc:/x"}},
	{"a folder of /etc", asRoot(bind("/etc/web")), []string{"6.0 mounts=/etc/web:/x", "2.0 process.user.uid"}},
	{"a program", asRoot(bind("/usr/bin/service")), []string{"9.0 mounts=/usr/bin/service:/x", "2.0 process.user.uid"}},
	{"a program, read-only", asRoot(bind("/usr/bin/service", "ro")), []string{"2.0 process.user.uid"}},

	{"paths of root", asRoot(func(s *specs.Spec) {
		s.Linux.ReadonlyPaths, s.Linux.MaskedPaths = []string{"/proc/sys/"}, []string{"/proc/bus"}
	}),
		[]string{"5.0 linux.readonlyPaths", "2.0 process.user.uid", "0.8 linux.maskedPaths"}},
	{"all of /proc read-only", asRoot(func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/proc"} }), []string{"2.0 process.user.uid"}},
	{"paths of a user", func(s *specs.Spec) { s.Linux.ReadonlyPaths, s.Linux.MaskedPaths = nil, nil }, []string{"0.5 linux.readonlyPaths", "0.3 linux.maskedPaths"}},
	{"no proc", func(s *specs.Spec) { s.Linux.ReadonlyPaths, s.Linux.MaskedPaths, s.Mounts = nil, nil, nil }, nil},

	{"all disks", device("b", -1, -1, "rwm"), []string{"9.0 linux.resources.devices=b *:*"}},
	{"all devices", device("", -1, -1, "rwm"), []string{"9.0 linux.resources.devices=a *:*"}},
	{"a disk", device("b", 8, 0, "r"), []string{"5.0 linux.resources.devices=b 8:0"}},
	{"memory", device("c", 1, 1, "r"), []string{"8.0 linux.resources.devices=c 1:1"}},
	{"null and tun", func(s *specs.Spec) { device("c", 1, 3, "rw")(s); device("c", 10, 200, "rw")(s) }, []string{"0.3 linux.resources.devices=c 10:200"}},
	{"a node alone", device("b", 8, 0, "m"), nil},
	{"denied again", func(s *specs.Spec) {
		device("b", 8, 0, "rw")(s)
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Access: "rwm"})
	}, nil},

	{"no limits", func(s *specs.Spec) { s.Linux.Resources = nil }, []string{"0.4 linux.resources.memory.limit", "0.4 linux.resources.pids.limit"}},
	{"limits of cgroup v2", func(s *specs.Spec) {
		s.Linux.Resources = &specs.LinuxResources{Unified: map[string]string{"memory.max": "1000000", "pids.max": "max"}}
	}, []string{"0.4 linux.resources.pids.limit"}},

	{"hooks", func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/x"}}, StartContainer: []specs.Hook{{Path: "/y"}}}
	}, []string{"2.0 hooks=poststop"}},
}

func TestAssess(t *testing.T) {
	for _, c := range bundles {
		s := isolated()
		c.change(s)
		r := Assess(bundleOf(s))
		var got []string
		for _, f := range r.Findings {
			got = append(got, strings.TrimSuffix(fmt.Sprintf("%.1f %s=%s", f.Weight, f.Field, f.Item), "="))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
		if (len(got) == 0) != (r.Score == 0) || len(got) == 1 && math.Abs(r.Score-r.Findings[0].Weight) > 1e-9 {
			t.Errorf("%s: score %v of %q", c.name, r.Score, got)
		}
	}
}

// What a finding advises removes the finding and lowers the score.
func TestAdvice(t *testing.T) {
	for _, c := range bundles {
		s := isolated()
		c.change(s)
		before := Assess(bundleOf(s))
		for _, f := range before.Findings {
			better := isolated()
			c.change(better)
			follow(t, better, f)
			after := Assess(bundleOf(better))
			if after.Score >= before.Score {
				t.Errorf("%s: %s: %q leads from %v to %v", c.name, f, f.Advice, before.Score, after.Score)
			}
			if slices.ContainsFunc(after.Findings, func(g Finding) bool { return g.Field == f.Field && g.Item == f.Item }) {
				t.Errorf("%s: %q does not remove the finding %s", c.name, f.Advice, f)
			}
		}
	}
}

// follow does what a finding advises.
func follow(t *testing.T, s *specs.Spec, f Finding) {
	t.Helper()
	key, value, _ := strings.Cut(strings.TrimSpace(f.Advice), ": ")
	value, _, _ = strings.Cut(value, " #")
	elements := strings.Split(strings.Trim(value, "[]"), ", ")
	limit := int64(1)
	switch {
	case key == "uid":
		s.Process.User = specs.User{UID: 1000, GID: 1000}
	case key == "gid":
		s.Process.User.GID = 1000
	case key == "noNewPrivileges":
		s.Process.NoNewPrivileges = value == "true"
	case f.Field == "annotations":
		delete(s.Annotations, f.Item)
	case key == "annotations":
		name, value, _ := strings.Cut(strings.Trim(value, "{}"), ": ")
		s.Annotations = map[string]string{name: value}
	case key == "capabilities":
		s.Process.Capabilities = &specs.LinuxCapabilities{}
	case f.Field == "linux.namespaces":
		namespace(specs.LinuxNamespaceType(f.Item), "")(s)
		if words := map[string]string{"network": "net"}; f.Item != "mount" && key != words[f.Item] && key != f.Item || f.Item != "mount" && value != "new" {
			t.Errorf("%s is advised for namespace %s", f.Advice, f.Item)
		}
	case key == "readonly":
		s.Root.Readonly = value == "true"
	case key == "rootfsPropagation":
		s.Linux.RootfsPropagation = value
	case key == "readonlyPaths":
		s.Linux.ReadonlyPaths = elements
	case key == "maskedPaths":
		s.Linux.MaskedPaths = elements
	case f.Field == "mounts":
		followMount(s, f)
	case key == "resources":
		if s.Linux.Resources == nil {
			s.Linux.Resources = &specs.LinuxResources{}
		}
		if strings.HasPrefix(value, "{memory: {limit: ") {
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		} else if strings.HasPrefix(value, "{pids: {limit: ") {
			s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
		}
	case f.Field == "process.capabilities":
		without := func(names []string) []string {
			return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == f.Item })
		}
		caps := s.Process.Capabilities
		*caps = specs.LinuxCapabilities{Bounding: without(caps.Bounding), Permitted: without(caps.Permitted), Effective: without(caps.Effective),
			Inheritable: without(caps.Inheritable), Ambient: without(caps.Ambient)}
	case f.Field == "linux.resources.devices":
		s.Linux.Resources.Devices = slices.DeleteFunc(s.Linux.Resources.Devices, func(d specs.LinuxDeviceCgroup) bool { return d.Allow && deviceName(d) == f.Item })
	case f.Field == "linux.seccomp":
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	case f.Field == "hooks":
		s.Hooks = nil
	default:
		t.Fatalf("no case for %+v", f)
	}
}

// followMount removes a mount, or makes it read-only if that is the advice.
func followMount(s *specs.Spec, f Finding) {
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool {
		return f.Item == m.Source+":"+m.Destination || f.Item == m.Type+":"+m.Destination
	})
	if strings.HasPrefix(f.Advice, "# without ") {
		s.Mounts = slices.Delete(s.Mounts, i, i+1)
	} else if strings.Contains(f.Advice, ":ro in binds") || strings.Contains(f.Advice, ", ro]") {
		s.Mounts[i].Options = append(s.Mounts[i].Options, "ro")
	}
}

func TestRating(t *testing.T) {
	for score, want := range map[float64]string{0: "isolated", 0.99: "isolated", 1: "restricted", 3.9: "restricted", 4: "exposed", 7: "unsafe", 9: "like root", 10: "like root"} {
		if got := rating(score); got != want {
			t.Errorf("%v is %s, want %s", score, got, want)
		}
	}
	var all []string
	for _, c := range known {
		all = append(all, c.name)
		if c.weight <= 0 || c.weight >= 10 || c.may == "" {
			t.Errorf("%+v", c)
		}
	}
	slices.Sort(all)
	if len(all) != 41 || len(slices.Compact(all)) != 41 { // Linux 5.9 to 6.18
		t.Errorf("%d capabilities: %q", len(all), all)
	}
}

// FuzzAssess: every configuration has a report, with findings in order and texts of
// limited length.
func FuzzAssess(f *testing.F) {
	for _, c := range bundles {
		s := isolated()
		c.change(s)
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"process":null,"root":null,"mounts":[{}],"linux":{"namespaces":[{}],"resources":{"devices":[{"allow":true}]}}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		var s specs.Spec
		if json.Unmarshal(config, &s) != nil {
			return
		}
		r := Assess(bundleOf(&s))
		if r.Score < 0 || r.Score > 10 || r.Rating == "" || math.IsNaN(r.Score) {
			t.Errorf("score %v, %s", r.Score, r.Rating)
		}
		if !slices.IsSortedFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Weight, a.Weight) }) {
			t.Errorf("not in order: %+v", r.Findings)
		}
		for _, f := range r.Findings {
			if f.Weight <= 0 || f.Weight >= 10 || f.Why == "" || f.Advice == "" || len(f.Item) > 1000 || len(f.Is) > 1000 {
				t.Errorf("%+v", f)
			}
		}
	})
}
