package image

import (
	"strings"
	"time"

	"keelson/testvm/image/progress"
)

// Options say what to build and where.
type Options struct {
	Before      []YAMLFile // merged before File
	YAML        []byte
	File        string // name of the YAML file, for errors and relative paths; Stdin for standard input
	Name        string // of the output; the file's name without its suffix if empty
	Arch        string // amd64, arm64, riscv64 or s390x; the host's if empty
	GuestRoot   string // tree that stands for "keelson" in init; may be empty
	CacheDir    string // the user's cache folder if empty
	OutDir      string
	Formats     []string          // of package format; kernel+initrd if empty
	Compression string            // of an initrd, one of Compressions; Fast if empty
	Size        int64             // of a disk, in bytes; as small as possible if zero
	Data        *Data             // a partition for data; nil for none
	Stub        string            // systemd's EFI stub; that of Debian's package if empty
	Firmware    string            // folder of a board's firmware; may be empty
	Refresh     bool              // fetch newer versions of what is in the cache
	Progress    progress.Progress // nil for none
	ModTime     time.Time         // of every file in the image; 1970 if zero
}

// YAMLFile is one of several files.
type YAMLFile struct {
	Name string // as Options.File
	Data []byte
}

// Stdin is the name of standard input in place of a file. Paths in it are relative
// to the current folder.
const Stdin = "-"

// stdinName is the name of an image built from standard input, as in the linuxkit
// CLI.
const stdinName = "moby"

// Output lists the files that Build has written. The fields before Files belong to
// the format kernel+initrd and are empty if that was not asked for.
type Output struct {
	Kernel      string // path; empty if the YAML file names no kernel
	Initrd      string
	CmdlineFile string
	Cmdline     string
	Files       []string // paths of all files, in the order they were made
}

// File returns the path of the file whose name ends in suffix, or "".
func (o Output) File(suffix string) string {
	for _, f := range o.Files {
		if strings.HasSuffix(f, suffix) {
			return f
		}
	}
	return ""
}
