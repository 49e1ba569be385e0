package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/tree"
)

// Version changes whenever the same packages give a different root, so that the cache
// does not return an older one.
const Version = "1"

// passwdPackage contains the users and groups of every Debian system.
const passwdPackage = "base-passwd"

// Root returns the tree of the packages asked for and of those they need to run. id
// identifies the packages and versions.
func (a *Archive) Root(ctx context.Context, asked []string) (root *tree.Tree, id string, err error) {
	asked = slices.Compact(slices.Sorted(slices.Values(asked)))
	packages, err := a.Resolve(ctx, asked)
	if err != nil {
		return nil, "", err
	}
	parts := []string{Version, a.Arch, strings.Join(asked, ",")}
	for _, p := range packages {
		parts = append(parts, p.Name, p.Version, p.SHA256)
	}
	id = cache.Key(parts...)
	root = tree.New()
	if data, ok := a.store.Get(id + ".tar"); ok && root.ReadTar(bytes.NewReader(data)) == nil {
		return root, id, nil
	}
	task := a.Progress.Start(fmt.Sprintf("unpacking %d Debian packages for %s", len(packages), strings.Join(asked, ", ")))
	root, err = a.unpackAll(ctx, packages, asked)
	task.Done(err)
	if err != nil {
		return nil, "", err
	}
	var buf bytes.Buffer
	if err := root.WriteTar(&buf, time.Unix(0, 0)); err != nil {
		return nil, "", err
	}
	return root, id, a.store.Put(id+".tar", buf.Bytes())
}

// Member returns a file of one package, by its path in the package.
func (a *Archive) Member(ctx context.Context, name, file string) ([]byte, error) {
	packages, err := a.Resolve(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(packages, func(p Package) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("cannot find Debian package %s", name)
	}
	deb, err := a.Fetch(ctx, packages[i])
	if err != nil {
		return nil, err
	}
	files := tree.New()
	if err := Unpack(ctx, deb, files.ReadTar); err != nil {
		return nil, err
	}
	e, ok := files.Get(file)
	if !ok || e.Type != tree.File {
		return nil, fmt.Errorf("cannot find file %s in Debian package %s", file, name)
	}
	return e.Data, nil
}

func (a *Archive) unpackAll(ctx context.Context, packages []Package, asked []string) (*tree.Tree, error) {
	root := tree.New()
	if err := skeleton(root); err != nil {
		return nil, err
	}
	for _, p := range packages {
		file, err := a.Fetch(ctx, p)
		if err != nil {
			return nil, err
		}
		files := tree.New()
		if err := Unpack(ctx, file, files.ReadTar); err != nil {
			return nil, err
		}
		if p.Name == passwdPackage && !slices.Contains(asked, passwdPackage) {
			files = passwdFiles(files)
		}
		prune(files, slices.Contains(asked, p.Name))
		if err := root.Merge("", files); err != nil {
			return nil, fmt.Errorf("cannot unpack Debian package %s: %w", p.Name, err)
		}
	}
	return root, linkApplets(root)
}

// Unpack passes the tar archive of files in a .deb to read, which need not read all.
func Unpack(ctx context.Context, deb string, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot unpack %s: %w", deb, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot unpack %s: %w", deb, err)
	}
	readErr := read(out)
	if readErr == nil {
		_, readErr = io.Copy(io.Discard, out)
	}
	if readErr != nil {
		cancel()
	}
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		return fmt.Errorf("cannot unpack %s: %w %s", deb, err, lastLines(stderr.String(), 2))
	}
	return nil
}

// skeleton returns the entries of every root: Debian's merged /usr, and the directories
// whose modes programs rely on.
func skeleton(root *tree.Tree) error {
	entries := []tree.Entry{
		{Path: "tmp", Type: tree.Dir, Mode: 0o1777},
		{Path: "var/tmp", Type: tree.Dir, Mode: 0o1777},
		{Path: "root", Type: tree.Dir, Mode: 0o700},
		{Path: "run", Type: tree.Dir, Mode: 0o755},
		{Path: "var/run", Type: tree.Symlink, Mode: 0o777, Link: "/run"},
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		entries = append(entries, tree.Entry{Path: "usr/" + name, Type: tree.Dir, Mode: 0o755},
			tree.Entry{Path: name, Type: tree.Symlink, Mode: 0o777, Link: "usr/" + name})
	}
	for _, e := range entries {
		if err := root.Put(e); err != nil {
			return err
		}
	}
	return nil
}

func passwdFiles(from *tree.Tree) *tree.Tree {
	out := tree.New()
	for name, master := range map[string]string{
		"etc/passwd": "usr/share/base-passwd/passwd.master",
		"etc/group":  "usr/share/base-passwd/group.master",
	} {
		if e, ok := from.Get(master); ok {
			e.Path = name
			_ = out.Put(e) // cannot fail: a new tree has no symlinks
		}
	}
	return out
}

// pruned are paths that no container needs.
var pruned = []string{
	"etc/apparmor.d", "etc/bash_completion.d", "etc/cron.*", "etc/dpkg", "etc/init", "etc/init.d",
	"etc/insserv.conf.d", "etc/logrotate.d", "etc/network", "etc/rc*.d", "etc/systemd", "etc/ufw", "etc/update-motd.d",
	"usr/lib/systemd", "lib/systemd", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d",
	"usr/lib/*/gconv", "usr/lib/*/audit", "usr/lib/udev", "lib/udev", "usr/lib/initramfs-tools",
	"usr/share/apport", "usr/share/applications", "usr/share/bash-completion", "usr/share/bug",
	"usr/share/doc", "usr/share/doc-base", "usr/share/fish", "usr/share/gdb", "usr/share/icons",
	"usr/share/info", "usr/share/initramfs-tools", "usr/share/lintian", "usr/share/locale",
	"usr/share/man", "usr/share/menu", "usr/share/pixmaps", "usr/share/polkit-1",
	"usr/share/reportbug", "usr/share/vim", "usr/share/zsh", "var/cache/apt", "var/lib/dpkg",
}

// prunedUnasked are also omitted from packages that were not asked for.
var prunedUnasked = []string{"usr/share/zoneinfo", "usr/lib/locale", "usr/share/i18n"}

func prune(t *tree.Tree, asked bool) {
	patterns := pruned
	if !asked {
		patterns = slices.Concat(pruned, prunedUnasked)
	}
	for _, e := range t.Entries() {
		for _, p := range patterns {
			if ok, _ := path.Match(p, e.Path); ok { // the patterns are constant and valid
				t.Remove(e.Path)
			}
		}
	}
}

// appletNames is the beginning of the sorted list of applets in a busybox binary.
var appletNames = []byte("\x00[\x00[[\x00")

// linkApplets makes the links of busybox's installation: one for each applet of the
// binary, unless another program has that name.
func linkApplets(root *tree.Tree) error {
	bb, ok := root.Get("usr/bin/busybox")
	if !ok {
		return nil
	}
	for _, name := range applets(bb.Data) {
		taken := false
		for _, dir := range []string{"usr/bin/", "usr/sbin/"} {
			if _, ok := root.Get(dir + name); ok {
				taken = true
			}
		}
		if taken {
			continue
		}
		link := tree.Entry{Path: "usr/bin/" + name, Type: tree.Symlink, Mode: 0o777, Link: "busybox"}
		if err := root.Put(link); err != nil {
			return err
		}
	}
	return nil
}

// applets reads the list from the binary, which may be for another architecture and
// cannot be run.
func applets(binary []byte) (out []string) {
	i := bytes.Index(binary, appletNames)
	if i < 0 {
		return nil
	}
	for part := range bytes.SplitSeq(binary[i+1:], []byte{0}) {
		name := string(part)
		if name == "" || strings.ContainsFunc(name, notInName) || len(out) > 0 && name <= out[len(out)-1] {
			break
		}
		out = append(out, name)
	}
	return out
}

func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("[_-.+", r))
}
