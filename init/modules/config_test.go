package modules

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/depmod"
)

// confTree has folders a, b and c, in this rank, with files by name.
func confTree(t *testing.T, files map[string]string) []string {
	t.Helper()
	root := t.TempDir()
	var dirs []string
	for _, d := range []string{"a", "b", "c"} {
		dirs = append(dirs, filepath.Join(root, d))
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dirs
}

func TestConfigFiles(t *testing.T) {
	dirs := confTree(t, map[string]string{
		"b/10-x.conf": "b", "c/10-x.conf": "c", "c/05-y.conf": "c", "a/20-z.conf": "", "c/20-z.conf": "c",
		"c/30-null.conf": "c", "a/note.txt": "", "c/40-dangling.conf": "c", "c/50-folder.conf": "c",
	})
	for name, to := range map[string]string{"30-null.conf": "/dev/null", "40-dangling.conf": "/nowhere/x"} {
		if err := os.Symlink(to, filepath.Join(dirs[0], name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dirs[0], "50-folder.conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range configFiles(dirs) {
		got = append(got, filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f))
	}
	if want := "c/05-y.conf b/10-x.conf a/20-z.conf"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestConfig(t *testing.T) {
	c := newConfig()
	err := c.parse(strings.NewReader(`# install a /bin/true
alias net-pf-10 off
alias eth* virtio-net
alias eth0 e1000
install dummy /bin/false
install snd-* modprobe --ignore-install snd && \
  echo "two  blanks"
options virtio-net a="x  y" b=1
options virtio_net c
softdep a pre: b-c post: d
softdep a pre: e
blacklist
alias x
remove a b
blacklist bad-one`))
	if err != nil {
		t.Fatal(err)
	}
	for alias, want := range map[string]string{"net_pf_10": "found", "eth0": "virtio_net e1000 found", "eth1": "virtio_net found", "x": ""} {
		got, found := c.alias(alias)
		if found {
			got = append(got, "found")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
	for module, want := range map[string]string{
		"dummy": "/bin/false", "snd_pcm": `modprobe --ignore-install snd &&   echo "two  blanks"`, "a": "",
	} {
		if got, ok := c.installCommand(module); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", module, got, ok)
		}
	}
	if got := strings.Join(c.Options["virtio_net"], "|"); got != `a="x  y" b=1|c` {
		t.Errorf("options %s", got)
	}
	if s := c.soft["a"]; strings.Join(s.Pre, " ") != "b_c e" || strings.Join(s.Post, " ") != "d" {
		t.Errorf("softdep %+v", s)
	}
	if !c.Blacklist["bad_one"] {
		t.Error("the last line, which has no newline, is not read")
	}
}

// TestConfigDecides looks at what modprobe.d makes of a request.
func TestConfigDecides(t *testing.T) {
	db := tree(t, map[string]string{
		"1.0/modules.dep": "kernel/dummy.ko:\nkernel/ipv6.ko:\nkernel/needs.ko: kernel/dummy.ko\nkernel/other.ko:\n" +
			"kernel/soft.ko:\nkernel/crc-a.ko:\nkernel/crc-b.ko:\n",
		"1.0/modules.alias":   "alias rtnl-link-dummy dummy\nalias net-pf-10 ipv6\nalias crypto-crc crc_a\nalias crypto-crc crc_b\n",
		"1.0/modules.softdep": "softdep soft pre: crypto-crc\nsoftdep other pre: crc-a\n",
		"conf/a.conf":         "install dummy /bin/false\nalias net-pf-10 off\nalias my-* other\ninstall virtual modprobe other\nsoftdep other pre: crc-b\n",
	})
	for alias, want := range map[string]string{
		"rtnl-link-dummy": "dummy=/bin/false", "dummy": "dummy=/bin/false", "needs": "dummy=/bin/false needs",
		"net-pf-10": "", "ipv6": "ipv6", "my-thing": "crc_b other", "virtual": "virtual=modprobe other",
		"soft": "crc_a crc_b soft",
	} {
		var got []string
		for _, name := range db.Resolve(alias) {
			for _, s := range db.Plan(name, nil) {
				if s.Install != "" {
					s.Name += "=" + s.Install
				}
				got = append(got, s.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
}

func TestRunInstall(t *testing.T) {
	for _, command := range []string{"/bin/true", "true", ":", " /usr/bin/true $CMDLINE_OPTS", "echo hello"} {
		if err := runInstall("x", command); err != nil {
			t.Errorf("%q: %v", command, err)
		}
	}
	for _, command := range []string{"/bin/false", "false", "/usr/bin/false $CMDLINE_OPTS"} {
		if err := runInstall("x", command); !errors.Is(err, ErrBlocked) {
			t.Errorf("%q: %v", command, err)
		}
	}
	err := runInstall("my_mod", "echo no $MODPROBE_MODULE; exit 3")
	if err == nil || errors.Is(err, ErrBlocked) || !strings.Contains(err.Error(), "no my_mod") {
		t.Errorf("%v", err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("install a b \\\nc\nalias x* y\noptions a \"b  c\"\nsoftdep a pre: b post:\n\\", "a")
	f.Add("install \\\nalias\n", "")
	f.Add("install\va\vb\ninstall a \v\n", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		c := newConfig()
		if err := c.parse(strings.NewReader(text)); err != nil {
			return
		}
		db := &DB{files: map[string]depmod.Module{"a": {Path: "a.ko"}}, aliases: map[string][]depmod.Alias{}, config: c}
		resolved := db.Resolve(name)
		_, configured := c.alias(name)
		for _, module := range resolved {
			if configured && (c.Blacklist[module] || module == off) {
				t.Errorf("%q leads to %q, which is blacklisted or off", name, module)
			}
			checkPlan(t, db, module)
		}
	})
}

// checkPlan checks that a plan has each module once, as a file that exists or a command.
func checkPlan(t *testing.T, db *DB, module string) {
	t.Helper()
	seen := map[string]bool{}
	for _, s := range db.Plan(module, nil) {
		command, install := db.config.installCommand(s.Name)
		switch {
		case seen[s.Name]:
			t.Errorf("the plan for %q has %q twice", module, s.Name)
		case install && (s.Install == "" || s.Install != command || s.File != ""):
			t.Errorf("step %+v, want the command %q", s, command)
		case !install && (s.Name != "a" || s.File != "a.ko" || s.Install != ""):
			t.Errorf("step %+v, want the file of module a", s)
		}
		seen[s.Name] = true
	}
}
