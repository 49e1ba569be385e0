package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Command is a program that is run.
type Command struct {
	Name  string
	Args  []string
	Stdin string
	OK    []int // exit statuses other than 0 that are success
	Quiet bool  // a failure is expected, and only the standard output matters
}

// path is where Debian has the programs.
const path = "/usr/sbin:/usr/bin:/sbin:/bin"

// execute runs a program and returns its output, or an error with the end of that.
func execute(c Command) (string, error) {
	file, err := lookPath(c.Name)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(file, c.Args...)
	cmd.Stdin = strings.NewReader(c.Stdin)
	// Without udev, libdevmapper makes the nodes of /dev/mapper itself.
	cmd.Env = []string{"PATH=" + path, "LC_ALL=C", "DM_DISABLE_UDEV=1"}
	output := cmd.CombinedOutput
	if c.Quiet {
		output = cmd.Output
	}
	out, err := output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		for _, code := range c.OK {
			if exit.ExitCode() == code {
				return string(out), nil
			}
		}
	}
	if err != nil {
		return string(out), fmt.Errorf("%s: %w%s", c.Name, err, oneLine(string(out)))
	}
	return string(out), nil
}

func lookPath(name string) (string, error) {
	for dir := range strings.SplitSeq(path, ":") {
		file := dir + "/" + name
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("the program %s is not in this image: add Debian's package %s", name, packages[name])
}

// packages are those of Debian that have the programs.
var packages = map[string]string{
	"sfdisk": "fdisk", "mke2fs": "e2fsprogs", "e2fsck": "e2fsprogs", "resize2fs": "e2fsprogs",
	"mkfs.xfs": "xfsprogs", "xfs_growfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs", "btrfs": "btrfs-progs",
	"mkfs.fat": "dosfstools", "fsck.fat": "dosfstools", "cryptsetup": "cryptsetup-bin", "mkswap": "util-linux",
}

// outputLimit is the part of a program's output that a message has, in bytes: its end.
const outputLimit = 400

// oneLine returns ": TEXT" with the end of an output on one line.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if text == "" {
		return ""
	}
	return ": " + strings.ToValidUTF8(text[max(0, len(text)-outputLimit):], "")
}
