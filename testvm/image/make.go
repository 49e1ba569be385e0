package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
	"keelson/testvm/image/kernel"
	"keelson/testvm/image/tree"
)

// maker makes the formats of one build in a folder beside the output. What
// several formats need is made once.
type maker struct {
	*builder
	dir    string
	kernel *kernel.Kernel // nil if the file names none
	system *tree.Tree     // the root without what the kernel adds
	root   *tree.Tree     // with it
	kept   []string       // names of files to be part of the output
	digest []byte         // of root, kernel and command line, once asked for
}

// makers make the formats of the table.
var makers = map[string]func(context.Context, *maker, format.Format) error{
	format.KernelInitrd:   makeKernelInitrd,
	format.KernelSquashfs: makeDiskRoot,
	format.KernelErofs:    makeDiskRoot,
	format.ISOEFI:         makeISOEFI,
	format.RawEFI:         makeRawEFI,
	format.Qcow2EFI:       makeQcow2EFI,
	format.RawBIOS:        makeRawBIOS,
	format.RPi:            makeRPi,
	format.Tar:            makeTar,
	format.OCI:            makeOCI,
}

// make makes all formats and moves them to the output folder at the end.
func (b *builder) make(ctx context.Context, k *kernel.Kernel, system *tree.Tree) (Output, error) {
	m := &maker{builder: b, kernel: k, system: system, root: system}
	if k != nil {
		m.root = system.Clone()
		if err := m.root.Merge("", k.Root); err != nil {
			return Output{}, err
		}
	}
	if err := os.MkdirAll(b.OutDir, 0o755); err != nil {
		return Output{}, fmt.Errorf("cannot write image: %w", err)
	}
	var err error
	if m.dir, err = os.MkdirTemp(b.OutDir, ".build-"); err != nil {
		return Output{}, fmt.Errorf("cannot write image: %w", err)
	}
	defer os.RemoveAll(m.dir)
	for _, f := range b.formats {
		if err := makers[f.Name](ctx, m, f); err != nil {
			return Output{}, fmt.Errorf("cannot make %s: %w", f.Name, fsimage.OrFull(m.dir, err))
		}
	}
	return m.publish()
}

// path is where a file is made that the output calls NAME and suffix.
func (m *maker) path(suffix string) string { return filepath.Join(m.dir, m.Name+suffix) }

// keep makes a file part of the output.
func (m *maker) keep(suffixes ...string) {
	for _, s := range suffixes {
		if name := m.Name + s; !slices.Contains(m.kept, name) {
			m.kept = append(m.kept, name)
		}
	}
}

// once makes a file unless it has been made, and gives its path.
func (m *maker) once(suffix string, write func(file string) error) (string, error) {
	file := m.path(suffix)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, write(file)
}

// publish moves what is to be kept to the output folder.
func (m *maker) publish() (Output, error) {
	out := Output{Cmdline: m.cmdline()}
	for _, name := range m.kept {
		file := filepath.Join(m.OutDir, name)
		if err := os.Rename(filepath.Join(m.dir, name), file); err != nil {
			return Output{}, fmt.Errorf("cannot write image: %w", err)
		}
		out.Files = append(out.Files, file)
		for suffix, field := range map[string]*string{kernelSuffix: &out.Kernel, initrdSuffix: &out.Initrd, cmdlineSuffix: &out.CmdlineFile} {
			if name == m.Name+suffix {
				*field = file
			}
		}
	}
	return out, nil
}

// Endings of the files that several formats have.
const (
	kernelSuffix  = "-kernel"
	initrdSuffix  = "-initrd.img"
	cmdlineSuffix = "-cmdline"
)

func (m *maker) cmdline() string { return m.doc.Config.Kernel.Cmdline }

// kernelFile is the kernel, initrdFile the whole root with microcode before it.
func (m *maker) kernelFile() (string, error) {
	return m.once(kernelSuffix, func(file string) error { return cache.WriteFile(file, m.kernel.Image) })
}

func (m *maker) initrdFile() (string, error) {
	return m.once(initrdSuffix, func(file string) error { return m.writeInitrd(file, m.root, m.ucode()) })
}

func (m *maker) cmdlineFile() (string, error) {
	return m.once(cmdlineSuffix, func(file string) error { return cache.WriteFile(file, []byte(m.cmdline())) })
}

func (m *maker) ucode() []byte {
	if m.kernel == nil {
		return nil
	}
	return m.kernel.UCode
}

// makeKernelInitrd leaves the kernel out if the file names none.
func makeKernelInitrd(_ context.Context, m *maker, _ format.Format) error {
	var kernelErr error
	if m.kernel != nil {
		_, kernelErr = m.kernelFile()
		m.keep(kernelSuffix)
	}
	_, initrdErr := m.initrdFile()
	_, cmdlineErr := m.cmdlineFile()
	m.keep(initrdSuffix, cmdlineSuffix)
	return errors.Join(kernelErr, initrdErr, cmdlineErr)
}
