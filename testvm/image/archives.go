package image

import (
	"context"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/format"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/tree"
)

// makeTar writes the root with kernel and command line at the paths of the linuxkit
// CLI.
func makeTar(_ context.Context, m *maker, f format.Format) error {
	root := m.root.Clone()
	root.MkdirAll("boot", 0o755, 0, 0)
	add := func(name string, data []byte) {
		root.Set(tree.Entry{Path: "boot/" + name, Type: tree.File, Mode: 0o644, Data: data})
	}
	add("cmdline", []byte(m.cmdline()))
	if m.kernel != nil {
		add("kernel", m.kernel.Image)
		if len(m.kernel.UCode) > 0 {
			add("ucode.cpio", m.kernel.UCode)
		}
	}
	m.addOutput(f.Files[0])
	return cache.WriteTo(m.path(f.Files[0]), func(w io.Writer) error { return root.WriteTar(w, m.ModTime) })
}

// makeOCI writes the system as an image whose entry point is /init. The kernel's modules
// are omitted, because a container cannot load them.
func makeOCI(_ context.Context, m *maker, f format.Format) error {
	task := m.Progress.Start("packing the OCI image")
	err := m.writeOCI(m.path(f.Files[0]))
	task.Done(err)
	m.addOutput(f.Files[0])
	return err
}

func (m *maker) writeOCI(file string) error {
	img, err := ocilayout.Image(m.system, ocilayout.Options{Arch: m.Arch, Time: m.ModTime, CreatedBy: "keelson build",
		Config: v1.Config{
			Entrypoint: []string{"/init"}, WorkingDir: "/", StopSignal: "SIGUSR2",
			Labels: map[string]string{"org.opencontainers.image.title": m.Name},
		}})
	if err != nil {
		return err
	}
	files, err := ocilayout.FromImage(img, map[string]string{
		"io.containerd.image.name": reference(m.Name), ocilayout.RefAnnotation: "latest",
	})
	if err != nil {
		return err
	}
	return cache.WriteTo(file, func(w io.Writer) error { return files.WriteTar(w, m.ModTime) })
}

// reference returns the name that a container engine gives the image when it loads it.
func reference(image string) string {
	ref := "localhost/" + strings.ToLower(image) + ":latest"
	if _, err := name.NewTag(ref, name.StrictValidation); err != nil {
		return "localhost/image:latest"
	}
	return ref
}
