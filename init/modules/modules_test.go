package modules

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/runtime/depmod"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", true},
		{"pci:v00001AF5d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", false},
		{"virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"virtio:d00000001v*", "virtio:d00000010v00001AF4", false},
		{"usb:v*p*d*dc*dsc*dp*ic08isc0[5-7]ip*", "usb:v1p2d3dc4dsc5dp6ic08isc06ip50", true},
		{"usb:v*isc0[!5-7]ip*", "usb:v1isc06ip50", false},
		{"fs-ext4", "fs-ext4", true},
		{"net-pf-*", "net_pf_17", true},
		{"char-major-10-23?", "char-major-10-235", true},
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false},
		{"[", "[", true}, {"[]", "[]", true}, {"[a", "[a", true}, {"dmi*:bvn*pn*/*", "dmi:bvnX:pnA/B", true},
	} {
		if got := match(tc.pattern, tc.text); got != tc.want {
			t.Errorf("match(%q, %q) = %v", tc.pattern, tc.text, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("pci:v*d[0-9]?", "pci:v1d23")
	f.Add("[!a-]*[", "x")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		match(pattern, text)
		if !strings.ContainsAny(pattern, "*?[") && match(pattern, text) != (depmod.Normal(pattern) == depmod.Normal(text)) {
			t.Fatalf("plain %q against %q", pattern, text)
		}
		if !match("*", text) {
			t.Fatalf("* against %q", text)
		}
	})
}

func FuzzPlan(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko\nalias x:* a\nsoftdep a pre: b post: c\n# c\noptions a x=1\nblacklist b\n")
	f.Add(":\n: :\nsoftdep a\nalias\noptions\nblacklist")
	f.Fuzz(func(t *testing.T, text string) {
		files, _ := depmod.ParseDep(strings.NewReader(text))
		aliases, _ := depmod.ParseAlias(strings.NewReader(text))
		soft, _ := depmod.ParseSoftdep(strings.NewReader(text))
		builtin, _ := depmod.ParseBuiltin(strings.NewReader(text))
		db := &DB{files: files, soft: soft, builtin: builtin, aliases: map[string][]depmod.Alias{}, config: newConfig()}
		_ = db.config.parse(strings.NewReader(text))
		for _, a := range aliases {
			db.aliases[bus(a.Pattern)] = append(db.aliases[bus(a.Pattern)], a)
		}
		for name := range files {
			seen := map[string]bool{}
			for _, step := range db.Plan(name, nil) {
				if seen[step.Name] {
					t.Fatalf("%s is planned twice for %s", step.Name, name)
				}
				seen[step.Name] = true
			}
		}
		db.Resolve(text)
	})
}

// tree writes a database for kernel "1.0" and opens it.
func tree(t *testing.T, files map[string]string) *DB {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db, err := Open("1.0", []string{filepath.Join(root, "none"), root}, []string{filepath.Join(root, "conf")})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func virtio(t *testing.T) *DB {
	return tree(t, map[string]string{
		"1.0/modules.dep": "kernel/virtio.ko:\nkernel/virtio_ring.ko: kernel/virtio.ko\n" +
			"kernel/virtio-pci.ko: kernel/virtio_ring.ko kernel/virtio.ko\n" +
			"kernel/virtio_net.ko: kernel/net_failover.ko kernel/virtio_ring.ko kernel/virtio.ko\n" +
			"kernel/net_failover.ko:\nkernel/bad.ko:\nkernel/loop-a.ko:\nkernel/loop-b.ko:\n",
		"1.0/modules.alias": "# comment\nalias pci:v00001AF4d* virtio-pci\nalias virtio:d00000001v* virtio_net\n" +
			"alias pci:v00001AF4d* bad\nalias fs-thing loop_a\nalias virtio:d00000002v* bad\n",
		"1.0/modules.softdep": "softdep loop_a pre: loop_b\nsoftdep loop_b post: loop_a\n",
		"1.0/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
		"conf/a.conf":         "options virtio_net csum=0\nblacklist loop-b\n",
	})
}

func names(steps []Load) string {
	var all []string
	for _, s := range steps {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}

func TestPlan(t *testing.T) {
	db := virtio(t)
	for _, tc := range []struct {
		name   string
		loaded map[string]bool
		want   string
	}{
		{"virtio-net", nil, "virtio virtio_ring net_failover virtio_net"},
		{"virtio_net", map[string]bool{"virtio": true, "virtio_ring": true}, "net_failover virtio_net"},
		{"loop_a", nil, "loop_b loop_a"},
		{"ext4", nil, ""},
		{"unknown", nil, ""},
	} {
		if got := names(db.Plan(tc.name, tc.loaded)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	db.config.Param("virtio-net.gso", "a b", true)
	steps := db.Plan("virtio_net", nil)
	if last := steps[len(steps)-1]; !reflect.DeepEqual(last.Params, []string{"csum=0", `gso="a b"`}) || !strings.HasSuffix(last.File, "/1.0/kernel/virtio_net.ko") {
		t.Errorf("last step %+v", last)
	}
}

func TestResolve(t *testing.T) {
	db := virtio(t)
	db.config.Param("modprobe.blacklist", "bad,x", true)
	for alias, want := range map[string]string{
		"pci:v00001AF4d00001041": "virtio_pci", "fs_thing": "loop_a", "ext4": "ext4", "bad": "bad", "usb:x": "", "virtio:d00000002v1": "",
	} {
		if got := strings.Join(db.Resolve(alias), " "); got != want {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
}

func TestIsInput(t *testing.T) {
	for alias, want := range map[string]bool{
		"acpi:LNXPWRBN:": true, "acpi:PNP0C0C:": true, "acpi:PNP0C0D:": true,
		"input:b0019v0000p0001e0000-e0,1,k74,ramlsfw": true,
		"acpi:PNP0C0F:": false, "virtio:d00000001v00001AF4": false, "pci:v00008086d00002918sv": false, "": false,
	} {
		if got := IsInput(alias); got != want {
			t.Errorf("%s: %v", alias, got)
		}
	}
}

// TestColdplugFollowsNewDevices has virtio_pci make a network device.
func TestColdplugFollowsNewDevices(t *testing.T) {
	var inserted []string
	devices := []string{"pci:v00001AF4d00001041", "acpi:X:", "acpi:X:"}
	l := &Loader{db: virtio(t), done: map[string]bool{"net_failover": true}}
	l.insert = func(s Load) error {
		inserted = append(inserted, s.Name)
		switch s.Name {
		case "virtio_pci":
			devices = append(devices, "virtio:d00000001v00001AF4", "virtio:d00000002v00001AF4")
		case "virtio":
			return unix.EEXIST
		case "bad":
			return unix.ENOMEM
		}
		return nil
	}
	err := l.Coldplug(t.Context(), func() ([]string, error) { return append([]string(nil), devices...), nil })
	if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "module bad") {
		t.Errorf("error %v", err)
	}
	if got := strings.Join(inserted, " "); got != "virtio virtio_ring virtio_pci bad virtio_net" {
		t.Errorf("inserted %s", got)
	}
	if got := strings.Join(l.Loaded, " "); got != "virtio_ring virtio_pci virtio_net" {
		t.Errorf("loaded %s", got)
	}
}

// A shutdown does not wait for the drivers of all devices.
func TestColdplugEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &Loader{db: virtio(t), done: map[string]bool{}}
	l.insert = func(s Load) error {
		if s.Name == "virtio_pci" {
			cancel()
		}
		return nil
	}
	err := l.Coldplug(ctx, func() ([]string, error) {
		return []string{"pci:v00001AF4d00001041", "virtio:d00000001v00001AF4"}, nil
	})
	if err != nil || !slices.Contains(l.Loaded, "virtio_pci") || slices.Contains(l.Loaded, "virtio_net") {
		t.Errorf("loaded %q, error %v", l.Loaded, err)
	}
}

func TestNoModules(t *testing.T) {
	if _, err := Open("9.9", []string{t.TempDir()}, nil); !errors.Is(err, ErrNone) {
		t.Errorf("no folder: %v", err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "9.9"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("9.9", []string{root}, nil); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("folder without modules.dep: %v", err)
	}
}

func TestFreshDevices(t *testing.T) {
	sys := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	devices := NewDevices(sys)
	want := func(aliases ...string) {
		t.Helper()
		got, err := devices.Fresh()
		slices.Sort(got)
		if err != nil || !slices.Equal(got, aliases) {
			t.Errorf("%q, %v, want %q", got, err, aliases)
		}
	}
	want()
	put("bus/pci/devices/0/modalias", "pci:a\n")
	put("bus/x/devices/1/modalias", "\n")
	put("bus/memory/devices/memory0/state", "online\n")
	put("class/dmi/id/modalias", "dmi:b\n")
	want("dmi:b", "pci:a")
	want()
	put("class/input/input0/modalias", "input:c\n")
	put("bus/pci/devices/1/modalias", "pci:a\n")
	want("input:c", "pci:a")
}

func TestRequestedAlias(t *testing.T) {
	if alias, ok := RequestedAlias([]string{"/init", "-q", "--", "fs-ext4"}); !ok || alias != "fs-ext4" {
		t.Errorf("%q, %v", alias, ok)
	}
	for _, args := range [][]string{nil, {"/init"}, {"/init", "boot"}, {"/init", "-q", "--", "a", "b"}} {
		if _, ok := RequestedAlias(args); ok {
			t.Errorf("%q is taken as a request", args)
		}
	}
}

func TestStaticNodes(t *testing.T) {
	l := &Loader{db: tree(t, map[string]string{"1.0/modules.dep": "", "1.0/modules.devname": "# comment\nfuse fuse c10:229\n" +
		"tun net/tun c10:200\nloop loop0 b7:0\ncuse cuse c10:203\n"})}
	nodes, err := l.StaticNodes()
	want := []StaticNode{{depmod.Node{Name: "fuse", Major: 10, Minor: 229}, 0o666},
		{depmod.Node{Name: "net/tun", Major: 10, Minor: 200}, 0o666}, {depmod.Node{Name: "cuse", Major: 10, Minor: 203}, 0o600}}
	if err != nil || !slices.Equal(nodes, want) {
		t.Errorf("%+v, %v", nodes, err)
	}
}

func TestLoadFileSystem(t *testing.T) {
	db := tree(t, map[string]string{
		"1.0/modules.dep":     "kernel/fuse.ko:\nkernel/pstore.ko:\nkernel/efivarfs.ko:\nkernel/bpf.ko:\nkernel/off.ko:\n",
		"1.0/modules.alias":   "alias fs-fusectl fuse\nalias fs-efivarfs efivarfs\nalias fs-bpf bpf\nalias fs-off off\n",
		"1.0/modules.builtin": "kernel/bpf.ko\n",
		"conf/a.conf":         "install off /bin/false\n",
	})
	l := &Loader{db: db, done: map[string]bool{}}
	l.insert = func(s Load) error {
		switch {
		case s.Install != "":
			return ErrBlocked
		case s.Name == "efivarfs":
			return unix.ENODEV
		}
		return nil
	}
	for fstype, want := range map[string]bool{"fusectl": true, "pstore": true, "efivarfs": false, "bpf": false, "selinuxfs": false, "off": false} {
		if got, err := l.LoadFileSystem(fstype); got != want || err != nil {
			t.Errorf("%s: %v, %v", fstype, got, err)
		}
	}
	slices.Sort(l.Loaded)
	if !slices.Equal(l.Loaded, []string{"fuse", "pstore"}) {
		t.Errorf("loaded %q", l.Loaded)
	}
	if found, err := l.LoadFileSystem("fusectl"); !found || err != nil {
		t.Errorf("loaded already: %v, %v", found, err)
	}
}
