package initrd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"keelson/runtime/cmdline"
)

// patience limits the wait for the root without rootwait: a driver may take a while to
// find a disk.
const patience = 30 * time.Second

// Params are the parameters of the kernel command line for the root.
type Params struct {
	Device  string        // value of root=
	FSTypes []string      // to try, in order
	Options []string      // for the mount
	Wait    time.Duration // 0: without limit
}

// fsTypes are tried when rootfstype= names none.
var fsTypes = []string{"erofs", "squashfs", "ext4", "iso9660", "xfs", "btrfs", "f2fs"}

// Prefixes of the name of a content in root=.
const (
	byUUID  = "UUID="
	byLabel = "LABEL="
)

// byName are the prefixes of a name in root=: of a partition or its content.
var byName = []string{"PARTUUID=", "PARTLABEL=", byUUID, byLabel}

// ParseParams parses the parameters for the root.
func ParseParams(line cmdline.Line) (Params, error) {
	w := Params{FSTypes: fsTypes, Options: []string{"ro"}, Wait: patience}
	w.Device, _ = line.Last("root")
	if w.Device == "" {
		return w, errors.New("cannot mount the root: the kernel command line has no root=, as in root=/dev/vda")
	}
	if !w.canBeFound() {
		return w, fmt.Errorf("cannot mount the root: root=%s is not /dev/NAME, MAJOR:MINOR, UUID=…, LABEL=…, PARTUUID=… or PARTLABEL=…", w.Device)
	}
	if types, ok := line.Last("rootfstype"); ok && types != "" {
		w.FSTypes = strings.Split(types, ",")
	}
	for _, p := range line {
		if p.Name == "rw" || p.Name == "ro" {
			w.Options[0] = p.Name
		}
	}
	if flags, _ := line.Last("rootflags"); flags != "" {
		w.Options = append(w.Options, flags)
	}
	return w, w.wait(line)
}

func (w Params) canBeFound() bool {
	if name, ok := strings.CutPrefix(w.Device, "/dev/"); ok {
		return name != "" && !strings.Contains(name, "..")
	}
	if _, _, ok := numbers(w.Device); ok {
		return true
	}
	return slices.ContainsFunc(byName, func(prefix string) bool {
		return strings.HasPrefix(w.Device, prefix) && len(w.Device) > len(prefix)
	})
}

// wait parses rootwait, which has no limit, or rootwait=SECONDS.
func (w *Params) wait(line cmdline.Line) error {
	value, ok := line.Last("rootwait")
	if !ok {
		return nil
	}
	w.Wait = 0
	if value == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(value, 10, 16)
	if err != nil || seconds == 0 {
		return fmt.Errorf("cannot mount the root: rootwait=%s is not a number of seconds", value)
	}
	w.Wait = time.Duration(seconds) * time.Second
	return nil
}

// numbers parses MAJOR:MINOR.
func numbers(s string) (major, minor uint64, ok bool) {
	a, b, ok := strings.Cut(s, ":")
	major, err := strconv.ParseUint(a, 10, 12)
	if err != nil || !ok {
		return 0, 0, false
	}
	minor, err = strconv.ParseUint(b, 10, 20)
	return major, minor, err == nil
}
