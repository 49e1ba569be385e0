package bench

import (
	"cmp"
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// Binary is a program of the guest.
type Binary struct {
	Path     string    `json:"path"` // in the guest
	Size     int64     `json:"size"`
	Packages []Package `json:"packages,omitempty"` // the largest first; empty for a program that is not written in Go
}

// Package is the machine code of one Go package in a binary, in bytes. Data is not
// counted, because a stripped binary does not assign it to packages.
type Package struct {
	Name string `json:"name"`
	Code int64  `json:"code"`
}

// MeasureBinaries measures the programs below root.
func MeasureBinaries(root string) ([]Binary, error) {
	var all []Binary
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode().Perm()&0o111 == 0 {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		b := Binary{Path: "/" + rel, Size: info.Size()}
		if b.Packages, err = packages(path); err != nil && !errors.Is(err, errNotGo) {
			return err
		}
		all = append(all, b)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot measure the binaries of %s: %w", root, err)
	}
	return all, nil
}

var errNotGo = errors.New("not a Go program")

// packages adds up the functions of each package. It reads the table that Go uses for
// stack traces, which stripping keeps.
func packages(path string) ([]Package, error) {
	f, err := elf.Open(path)
	if err != nil {
		if _, bad := errors.AsType[*elf.FormatError](err); bad || errors.Is(err, io.EOF) {
			return nil, errNotGo
		}
		return nil, err
	}
	defer f.Close()
	table, text := f.Section(".gopclntab"), f.Section(".text")
	if table == nil || text == nil {
		return nil, errNotGo
	}
	data, err := table.Data()
	if err != nil {
		return nil, fmt.Errorf("cannot read functions of %s: %w", path, err)
	}
	functions, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, fmt.Errorf("cannot read functions of %s: %w", path, err)
	}
	sizes := map[string]int64{}
	for _, fn := range functions.Funcs {
		sizes[packageOf(fn.Sym)] += int64(fn.End - fn.Entry)
	}
	var list []Package
	for name, size := range sizes {
		list = append(list, Package{name, size})
	}
	slices.SortFunc(list, func(a, b Package) int {
		return cmp.Or(cmp.Compare(b.Code, a.Code), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

func packageOf(s *gosym.Sym) string {
	return cmp.Or(s.PackageName(), "(runtime and cgo)")
}

// shown is the number of packages in the table for each binary.
const shown = 8

// writeBinaries prints the sizes of the guest's programs.
func (r *Report) writeBinaries(w io.Writer) {
	if len(r.Binaries) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nbinary\tsize\tmost code\n")
	for _, b := range r.Binaries {
		var most []string
		for _, p := range b.Packages[:min(shown, len(b.Packages))] {
			most = append(most, fmt.Sprintf("%s %.1f", p.Name, float64(p.Code)/1e6))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", b.Path, quantity(float64(b.Size), "B"), strings.Join(most, ", "))
	}
	_ = t.Flush()
}

// binaries measures the programs of the guest, if its tree is known.
func (o Options) binaries() ([]Binary, error) {
	if o.Root == "" {
		return nil, nil
	}
	if _, err := os.Stat(o.Root); err != nil {
		return nil, fmt.Errorf("cannot find the guest's programs: %w", err)
	}
	return MeasureBinaries(o.Root)
}
