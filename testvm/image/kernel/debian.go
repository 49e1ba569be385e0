package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/modules"
	"keelson/testvm/image/tree"
)

// imagePackage matches packages that contain a kernel; other linux-image-… packages only
// depend on one.
var imagePackage = regexp.MustCompile(`^linux-image-[0-9]`)

// Paths of the kernel and the device trees in the cached tree.
const (
	vmlinuz     = "vmlinuz"
	deviceTrees = "device-trees"
)

// modulesOrder names all modules of the kernel in the order of its build. Only depmod reads it, which
// has run.
const modulesOrder = "modules.order"

// boardTrees are the device trees to take from a package, which has them for hundreds of
// boards: only those of boards that a format supports.
var boardTrees = []string{"broadcom/bcm2837-rpi-*.dtb", "broadcom/bcm2711-rpi-*.dtb"}

// FromDebian reads kernel and modules from a package, or from the one that a
// metapackage depends on. asked is nil for the default modules.
func FromDebian(ctx context.Context, a *debian.Archive, name string, asked []string) (*Kernel, error) {
	packages, err := a.Resolve(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	for _, p := range packages {
		if imagePackage.MatchString(p.Name) {
			return fromPackage(ctx, a, p, asked)
		}
	}
	return nil, fmt.Errorf("cannot find a kernel in Debian package %s: neither it nor a package that it depends on is named linux-image-VERSION", name)
}

func fromPackage(ctx context.Context, a *debian.Archive, p debian.Package, asked []string) (*Kernel, error) {
	set := strings.Join(modules.Default, ",") + " of which " + strings.Join(asked, ",") + " with " + strings.Join(boardTrees, ",")
	if asked == nil {
		set += " by default"
	}
	store := cache.Store{Dir: filepath.Join(a.CacheDir, "kernels")}
	key := cache.Key(debian.Version, a.Arch, p.Name, p.Version, p.SHA256, set) + ".tar"
	root := tree.New()
	if data, ok := store.Get(key); ok && root.ReadTar(bytes.NewReader(data)) == nil {
		return split(root)
	}
	deb, err := a.Fetch(ctx, p)
	if err != nil {
		return nil, err
	}
	task := a.Progress.Start("unpacking " + p.Name)
	root, err = unpack(ctx, deb, asked)
	task.Done(err)
	if err != nil {
		return nil, fmt.Errorf("cannot use Debian package %s: %w", p.Name, err)
	}
	var buf bytes.Buffer
	if err := root.WriteTar(&buf, time.Unix(0, 0)); err != nil {
		return nil, err
	}
	if err := store.Put(key, buf.Bytes()); err != nil {
		return nil, err
	}
	return split(root)
}

func split(root *tree.Tree) (*Kernel, error) {
	e, ok := root.Get(vmlinuz)
	if !ok {
		return nil, fmt.Errorf("cannot find %s in the cache's kernel", vmlinuz)
	}
	root.Remove(vmlinuz)
	trees := tree.New()
	for _, t := range root.Entries() {
		if path.Dir(t.Path) == deviceTrees {
			t.Path = path.Base(t.Path)
			trees.Set(t)
		}
	}
	root.Remove(deviceTrees)
	for _, e := range root.Entries() {
		if path.Base(e.Path) == modulesOrder {
			root.Remove(e.Path)
		}
	}
	return &Kernel{Image: e.Data, Root: root, Trees: trees}, nil
}

// unpack returns a tree of the kernel, the modules asked for with their dependencies,
// and depmod's tables of these modules.
func unpack(ctx context.Context, deb string, asked []string) (*tree.Tree, error) {
	tmp, err := os.MkdirTemp("", "keelson-kernel-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := run(ctx, "dpkg-deb", "--extract", deb, tmp); err != nil {
		return nil, err
	}
	images, _ := filepath.Glob(filepath.Join(tmp, "boot/vmlinu[xz]-*")) // the pattern is right
	dirs, _ := filepath.Glob(filepath.Join(tmp, "lib/modules/*"))
	if len(dirs) == 0 { // since /usr is merged in the packages too
		dirs, _ = filepath.Glob(filepath.Join(tmp, "usr/lib/modules/*"))
	}
	if len(images) != 1 || len(dirs) != 1 {
		return nil, fmt.Errorf("it contains %d kernels and %d sets of modules", len(images), len(dirs))
	}
	data, err := os.ReadFile(images[0])
	if err != nil {
		return nil, err
	}
	root, err := reduce(ctx, dirs[0], asked)
	if err != nil {
		return nil, err
	}
	return root, errors.Join(root.Put(tree.Entry{Path: vmlinuz, Type: tree.File, Mode: 0o644, Data: data}), putDeviceTrees(root, tmp))
}

// putDeviceTrees adds the device trees of the package unpacked at dir.
func putDeviceTrees(root *tree.Tree, dir string) error {
	for _, pattern := range boardTrees {
		files, _ := filepath.Glob(filepath.Join(dir, "usr/lib/linux-image-*", pattern)) // the pattern is right
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			err = root.Put(tree.Entry{Path: path.Join(deviceTrees, filepath.Base(f)), Type: tree.File, Mode: 0o644, Data: data})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// reduce removes the modules in dir that are not needed. dir is named after the kernel's
// version.
func reduce(ctx context.Context, dir string, asked []string) (*tree.Tree, error) {
	version := filepath.Base(dir)
	if err := runDepmod(ctx, dir, version); err != nil {
		return nil, err
	}
	tables, err := readTables(dir)
	if err != nil {
		return nil, err
	}
	want := asked
	if want == nil {
		want = modules.Default
	}
	files, err := modules.Closure(tables, want, asked != nil)
	if err != nil {
		return nil, err
	}
	small := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(dir))), "small")
	out := filepath.Join(small, "lib/modules", version)
	for _, f := range append(files, modulesOrder, "modules.builtin", "modules.builtin.modinfo") {
		if err := move(filepath.Join(dir, f), filepath.Join(out, f)); err != nil {
			return nil, err
		}
	}
	if err := runDepmod(ctx, out, version); err != nil {
		return nil, err
	}
	return tree.FromDir(small)
}

// readTables reads the tables of depmod in a folder of modules.
func readTables(dir string) (tables modules.Tables, err error) {
	for name, into := range map[string]*string{
		"dep": &tables.Dep, "softdep": &tables.Softdep, "alias": &tables.Alias, "builtin": &tables.Builtin,
	} {
		b, err := os.ReadFile(filepath.Join(dir, "modules."+name))
		if err != nil {
			return modules.Tables{}, err
		}
		*into = string(b)
	}
	return tables, nil
}

func move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// runDepmod writes the tables of the modules in dir, which is BASE/…/VERSION.
func runDepmod(ctx context.Context, dir, version string) error {
	base, err := os.MkdirTemp("", "keelson-depmod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	// depmod only reads lib/modules below the base directory.
	if err := os.MkdirAll(filepath.Join(base, "lib"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Dir(dir), filepath.Join(base, "lib/modules")); err != nil {
		return err
	}
	return run(ctx, "depmod", "-b", base, version)
}

func run(ctx context.Context, program string, args ...string) error {
	path, err := debian.Tool(program)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(out))
	}
	return nil
}
