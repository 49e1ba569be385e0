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

// maker makes the formats of one build in a temporary folder inside the output folder.
// Files that several formats need are made once.
type maker struct {
	*builder
	dir    string
	kernel *kernel.Kernel // nil if the file names none
	system *tree.Tree     // the root without what the kernel adds
	root   *tree.Tree     // with it
	output []string       // names of the files to publish
	digest []byte         // of root, kernel and command line; nil until needed
}

// makers make the formats of the table.
var makers = map[string]func(context.Context, *maker, format.Format) error{
	format.KernelInitrd:   makeKernelInitrd,
	format.KernelSquashfs: makeDiskRoot,
	format.KernelErofs:    makeDiskRoot,
	format.MicroVMs:       makeMicroVM,
	format.ISOEFI:         makeISOEFI,
	format.RawEFI:         makeRawEFI,
	format.Qcow2EFI:       makeQcow2EFI,
	format.RawBIOS:        makeRawBIOS,
	format.RPi:            makeRPi,
	format.Tar:            makeTar,
	format.OCI:            makeOCI,
}

// make makes all formats, then moves them to the output folder.
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

// path returns the temporary path of the output file NAME+suffix.
func (m *maker) path(suffix string) string { return filepath.Join(m.dir, m.Name+suffix) }

// addOutput makes files part of the output.
func (m *maker) addOutput(suffixes ...string) {
	for _, s := range suffixes {
		if name := m.Name + s; !slices.Contains(m.output, name) {
			m.output = append(m.output, name)
		}
	}
}

// once writes a file unless it exists, and returns its path.
func (m *maker) once(suffix string, write func(file string) error) (string, error) {
	file := m.path(suffix)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, write(file)
}

// publish moves the files of the output to the output folder.
func (m *maker) publish() (Output, error) {
	out := Output{Cmdline: m.cmdline()}
	for _, name := range m.output {
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

// Suffixes of files that several formats have.
const (
	kernelSuffix  = "-kernel"
	initrdSuffix  = "-initrd.img"
	cmdlineSuffix = "-cmdline"
)

func (m *maker) cmdline() string { return m.doc.Config.Kernel.Cmdline }

// kernelFile writes the kernel, initrdFile the whole root preceded by microcode.
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

// makeKernelInitrd omits the kernel if the YAML file names none.
func makeKernelInitrd(_ context.Context, m *maker, _ format.Format) error {
	var kernelErr error
	if m.kernel != nil {
		_, kernelErr = m.kernelFile()
		m.addOutput(kernelSuffix)
	}
	_, initrdErr := m.initrdFile()
	_, cmdlineErr := m.cmdlineFile()
	m.addOutput(initrdSuffix, cmdlineSuffix)
	return errors.Join(kernelErr, initrdErr, cmdlineErr)
}
