package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"keelson/runtime/bundle"
)

var volumeName = regexp.MustCompile(`^[a-z0-9_-]+$`)

// platform is OS/ARCHITECTURE[/VARIANT].
var platform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`)

// FormatOCI is the format of a volume that holds an image as an OCI layout.
const FormatOCI = "oci"

// containerName matches names that containerd accepts as IDs.
var containerName = regexp.MustCompile(`^[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*$`)

const maxNameLen = 76

// Section is one of the three lists of containers.
type Section struct {
	Name   string
	Images []Image
}

// Sections returns the lists of containers in the order in which IDs are assigned.
func (c *Config) Sections() []Section {
	return []Section{{"onboot", c.Onboot}, {"onshutdown", c.Onshutdown}, {"services", c.Services}}
}

// check returns, joined, all errors that can be found without the images.
func (d *Document) check() error {
	var errs []error
	errs = append(errs, d.checkKernel()...)
	errs = append(errs, d.checkContainers()...)
	errs = append(errs, d.checkVolumes()...)
	for i, f := range d.Config.Files {
		errs = append(errs, d.checkFile(fmt.Sprintf("files[%d]", i), f))
	}
	return errors.Join(errs...)
}

func (d *Document) checkKernel() (errs []error) {
	k := d.Config.Kernel
	if k.Image == "" && (k.Binary != "" || k.Tar != nil || k.UCode != nil || k.Modules != nil) {
		errs = append(errs, d.Errorf("kernel", "image is missing"))
	}
	if slices.Contains(k.Modules, "all") && len(k.Modules) > 1 {
		errs = append(errs, d.Errorf("kernel.modules", "all cannot be combined with other modules"))
	}
	for i, init := range d.Config.Init {
		if init == "" {
			errs = append(errs, d.Errorf(fmt.Sprintf("init[%d]", i), "an image is missing"))
		}
	}
	return errs
}

func (d *Document) checkContainers() (errs []error) {
	for _, s := range d.Config.Sections() {
		names := bundle.NewNames(s.Name)
		seen := map[string]bool{}
		for i, img := range s.Images {
			at := fmt.Sprintf("%s[%d]", s.Name, i)
			err := d.checkContainer(at, img)
			if err == nil && s.Name == "services" { // Containers of other sections are numbered.
				err = d.checkNames(at, img, names, seen[img.Name])
			}
			seen[img.Name] = true
			errs = append(errs, err)
		}
	}
	return errs
}

func (d *Document) checkContainer(at string, img Image) error {
	switch {
	case img.Name == "":
		return d.Errorf(at, "name is missing")
	case img.Image == "":
		return d.Errorf(at, "image is missing")
	case !containerName.MatchString(img.Name) || len(img.Name) > maxNameLen:
		return d.Errorf(at+".name", "%q cannot be the name of a container: letters, digits and single . _ - between them", img.Name)
	}
	return nil
}

// checkNames refuses a service that shares its name, or something derived from it,
// with another one.
func (d *Document) checkNames(at string, img Image, names *bundle.Names, seen bool) error {
	if seen {
		return d.Errorf(at+".name", "two services are named %q", img.Name)
	}
	if err := names.Add(img.Name); err != nil {
		return d.ErrorAt(at+".name", err)
	}
	if img.CgroupsPath == nil { // The image's label may set it.
		return nil
	}
	if err := names.AddCgroup(img.Name, bundle.CgroupPath(*img.CgroupsPath, img.Name)); err != nil {
		return d.ErrorAt(at+".cgroupsPath", err)
	}
	return nil
}

func (d *Document) checkVolumes() (errs []error) {
	seen := map[string]bool{}
	for i, v := range d.Config.Volumes {
		errs = append(errs, d.checkVolume(fmt.Sprintf("volumes[%d]", i), v, seen[v.Name]))
		seen[v.Name] = true
	}
	return errs
}

func (d *Document) checkVolume(at string, v Volume, seen bool) error {
	switch {
	case !volumeName.MatchString(v.Name):
		return d.Errorf(at+".name", "%q cannot be the name of a volume: lower-case letters, digits, _ and -", v.Name)
	case seen:
		return d.Errorf(at+".name", "two volumes are named %q", v.Name)
	case v.Format != "" && v.Format != "filesystem" && v.Format != FormatOCI:
		return d.Errorf(at+".format", "%q is neither filesystem nor oci", v.Format)
	case v.Format == FormatOCI && v.Image == "":
		return d.Errorf(at+".image", "is missing: a volume of format oci holds an image")
	case len(v.Platforms) > 0 && v.Format != FormatOCI:
		return d.Errorf(at+".platforms", "is only for format oci")
	}
	for n, p := range v.Platforms {
		if !platform.MatchString(p) {
			return d.Errorf(fmt.Sprintf("%s.platforms[%d]", at, n), "%q is not a platform such as linux/arm64", p)
		}
	}
	return nil
}

func (d *Document) checkFile(at string, f File) error {
	if err := f.check(); err != nil {
		return d.ErrorAt(at, err)
	}
	if err := CheckVisible(f.CleanPath(), f.Directory); err != nil {
		return d.ErrorAt(at+".path", err)
	}
	if _, err := f.FileMode(); err != nil {
		return d.ErrorAt(at+".mode", err)
	}
	ids := d.Config.IDs()
	if _, err := f.UID.Number(ids); err != nil {
		return d.ErrorAt(at+".uid", err)
	}
	if _, err := f.GID.Number(ids); err != nil {
		return d.ErrorAt(at+".gid", err)
	}
	return nil
}

func (f *File) check() error {
	if f.CleanPath() == "" {
		return errors.New("path is missing")
	}
	var kinds []string
	for name, given := range map[string]bool{
		"directory": f.Directory, "symlink": f.Symlink != "", "contents": f.Contents != nil,
		"source": f.Source != "", "metadata": f.Metadata != "",
	} {
		if given {
			kinds = append(kinds, name)
		}
	}
	slices.Sort(kinds)
	switch {
	case len(kinds) == 0:
		return errors.New("one of contents, source, directory, symlink, metadata is missing")
	case len(kinds) > 1:
		return fmt.Errorf("%s exclude each other", strings.Join(kinds, " and "))
	case f.Metadata != "" && f.Metadata != "yaml" && f.Metadata != "json":
		return fmt.Errorf("metadata is yaml or json, not %q", f.Metadata)
	}
	return nil
}

// CleanPath returns the file's path in the image, without a leading slash.
func (f *File) CleanPath() string {
	return strings.TrimPrefix(path.Clean("/"+f.Path), "/")
}

// FileMode returns the entry's permission bits.
func (f *File) FileMode() (uint32, error) {
	switch {
	case f.Mode != "":
		return ParseMode(f.Mode)
	case f.Directory:
		return 0o700, nil
	}
	return 0o600, nil
}

// ParseMode reads octal permission bits.
func ParseMode(s string) (uint32, error) {
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil || m > 0o7777 {
		return 0, fmt.Errorf("%q is not an octal mode such as \"0644\"", s)
	}
	return uint32(m), nil
}
