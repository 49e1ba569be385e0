package mounts

import (
	"strings"

	"golang.org/x/sys/unix"
)

// option is the effect of an fstab-style word on the flags of a mount.
type option struct {
	set, clear uintptr
}

// atime are the flags for access times, of which a mount has at most one.
const atime = unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME

var flagOptions = map[string]option{
	"ro":            {set: unix.MS_RDONLY},
	"rw":            {clear: unix.MS_RDONLY},
	"nosuid":        {set: unix.MS_NOSUID},
	"suid":          {clear: unix.MS_NOSUID},
	"nodev":         {set: unix.MS_NODEV},
	"dev":           {clear: unix.MS_NODEV},
	"noexec":        {set: unix.MS_NOEXEC},
	"exec":          {clear: unix.MS_NOEXEC},
	"sync":          {set: unix.MS_SYNCHRONOUS},
	"async":         {clear: unix.MS_SYNCHRONOUS},
	"dirsync":       {set: unix.MS_DIRSYNC},
	"mand":          {set: unix.MS_MANDLOCK},
	"nomand":        {clear: unix.MS_MANDLOCK},
	"silent":        {set: unix.MS_SILENT},
	"loud":          {clear: unix.MS_SILENT},
	"iversion":      {set: unix.MS_I_VERSION},
	"noiversion":    {clear: unix.MS_I_VERSION},
	"lazytime":      {set: unix.MS_LAZYTIME},
	"nolazytime":    {clear: unix.MS_LAZYTIME},
	"nosymfollow":   {set: unix.MS_NOSYMFOLLOW},
	"symfollow":     {clear: unix.MS_NOSYMFOLLOW},
	"noatime":       {set: unix.MS_NOATIME, clear: atime},
	"atime":         {clear: unix.MS_NOATIME},
	"nodiratime":    {set: unix.MS_NODIRATIME},
	"diratime":      {clear: unix.MS_NODIRATIME},
	"relatime":      {set: unix.MS_RELATIME, clear: atime},
	"norelatime":    {clear: unix.MS_RELATIME},
	"strictatime":   {set: unix.MS_STRICTATIME, clear: atime},
	"nostrictatime": {clear: unix.MS_STRICTATIME},
	"remount":       {set: unix.MS_REMOUNT},
	"bind":          {set: unix.MS_BIND},
	"rbind":         {set: unix.MS_BIND | unix.MS_REC},
}

// propagationOptions each need a separate system call: the kernel accepts no other flag
// with them, and as data they would be refused or stored.
var propagationOptions = map[string]uintptr{
	"private":     unix.MS_PRIVATE,
	"rprivate":    unix.MS_PRIVATE | unix.MS_REC,
	"shared":      unix.MS_SHARED,
	"rshared":     unix.MS_SHARED | unix.MS_REC,
	"slave":       unix.MS_SLAVE,
	"rslave":      unix.MS_SLAVE | unix.MS_REC,
	"unbindable":  unix.MS_UNBINDABLE,
	"runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// fstabWords are words for mount(8) and its callers, which the kernel does not know.
var fstabWords = map[string]bool{
	"": true, "defaults": true, "auto": true, "noauto": true, "user": true,
	"nouser": true, "users": true, "owner": true, "group": true,
	"_netdev": true, "nofail": true, "_rnetdev": true,
}

// options is a parsed list of option words.
type options struct {
	set         uintptr   // flags to set
	clear       uintptr   // flags to clear
	propagation []uintptr // in the order given
	data        string    // for the file system
}

func parseOptions(words []string) options {
	var o options
	var data []string
	for _, list := range words {
		for word := range strings.SplitSeq(list, ",") {
			if !o.flag(word) {
				data = append(data, word)
			}
		}
	}
	o.data = strings.Join(data, ",")
	return o
}

// flag adds word and reports whether it is not for the file system. A later word overrides
// an earlier one, as in mount(8).
func (o *options) flag(word string) bool {
	if f, ok := flagOptions[word]; ok {
		o.set = o.set&^f.clear | f.set
		o.clear = o.clear&^f.set | f.clear&^f.set
		return true
	}
	if p, ok := propagationOptions[word]; ok {
		o.propagation = append(o.propagation, p)
		return true
	}
	return fstabWords[word] || strings.HasPrefix(word, "x-") || strings.HasPrefix(word, "X-")
}
