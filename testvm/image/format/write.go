package format

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Write prints the table as Markdown, which is readable on a terminal too.
func Write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| format | files | for | architectures | started by | needs on the building machine |\n|---|---|---|---|---|---|\n")
	for _, f := range Table {
		files := make([]string, len(f.Files))
		for i, suffix := range f.Files {
			files[i] = "`NAME" + suffix + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", f.Name, strings.Join(files, ", "), f.About,
			strings.Join(f.Archs, ", "), orNone(string(f.Start)), orNone(strings.Join(f.packages(), ", ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orNone(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// packages returns the Debian packages of the tools for all architectures.
func (f Format) packages() []string {
	var out []string
	for _, arch := range f.Archs {
		for _, t := range f.Tools(arch) {
			if !slices.Contains(out, t.Package) {
				out = append(out, t.Package)
			}
		}
	}
	return out
}
