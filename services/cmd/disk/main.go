// Command disk finds, formats, checks, grows and mounts file systems, opens encrypted volumes, and
// turns on swap (package keelson/runtime/disk). It is for onboot containers. Started as format,
// mountie, extend, crypto or swap.sh, it is that verb, as in LinuxKit's packages.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"keelson/runtime/disk"
	"keelson/runtime/disk/plan"
	"keelson/runtime/version"
)

const usage = `usage: disk VERB [OPTION]… [ARGUMENT]…

data [-label L | -uuid U | -device D] [-format D|any]… [-type T] [-partition gpt|dos|none]
     [-crypt NAME -key-file F] [-pbkdf pbkdf2] [-o OPTIONS] [-check=false] [-grow=false]
     MOUNTPOINT [FOLDER:UID:GID]…
                          find, format if empty, open, check, grow and mount
format [-label L] [-type T] [-partition gpt|dos|none] [-force] [-verbose] [DEVICE]
mount [-label L | -uuid U | -device D] [-o OPTIONS] [DEVICE] MOUNTPOINT
extend [-type T] [DISK]…  grow the only partition of disks, with its file system
crypt [-l] [-k FILE] [-pbkdf pbkdf2] [-type T] NAME DEVICE
swap [-label L | -device D] [-format D|any]… [-partition gpt|dos|none]
                          a swap area on a disk
swap --file PATH --size SIZE [--condition C]… [--encrypt] [--debug]
                          a swap file
zram [-size SIZE|N%] [-algorithm A] [-priority N]

Types: ext4 (default), xfs, btrfs, vfat. A device is formatted only if it is empty.
-wait DURATION (default 15s): for disks that appear late.
`

// Exit statuses.
const (
	codeFailed = 1
	codeUsage  = 2
)

// errUsage is returned for a command line that is wrong.
type errUsage struct{ error }

func main() {
	args := os.Args[1:]
	if name := filepath.Base(os.Args[0]); verbs[name] != nil {
		args = append([]string{name}, args...)
	}
	switch err := run(args, os.Stdout); {
	case errors.As(err, &errUsage{}):
		fmt.Fprintf(os.Stderr, "disk: %v\n\n%s", err, usage)
		os.Exit(codeUsage)
	case err != nil:
		fmt.Fprintf(os.Stderr, "disk: %v\n", err)
		os.Exit(codeFailed)
	}
}

// task is what a command line asks for.
type task func(ctx context.Context, y disk.System) error

// verbs parse their arguments. Those of LinuxKit's packages have their names, too.
var verbs = map[string]func(args []string) (task, error){
	"data": parseData, "format": parseFormat, "mount": parseMount, "mountie": parseMount, "extend": parseExtend,
	"crypt": parseCrypt, "crypto": parseCrypt, "swap": parseSwap, "swap.sh": parseSwap, "zram": parseZRAM,
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage{errors.New("what is to be done?")}
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		_, err := io.WriteString(out, usage)
		return err
	case "-version", "--version":
		_, err := fmt.Fprintln(out, version.Line("disk"))
		return err
	}
	parse := verbs[args[0]]
	if parse == nil {
		return errUsage{fmt.Errorf("there is no verb %q", args[0])}
	}
	t, err := parse(args[1:])
	if err != nil {
		return errUsage{err}
	}
	return t(context.Background(), disk.New(out))
}

// options are the flags that verbs have in common.
type options struct {
	*flag.FlagSet
	want      plan.Want
	how       disk.Options
	format    list
	partition string
	mount     string
}

func newOptions(verb string) *options {
	o := &options{FlagSet: flag.NewFlagSet(verb, flag.ContinueOnError)}
	o.SetOutput(io.Discard)
	o.StringVar(&o.want.Type, "type", plan.Ext4, "")
	o.DurationVar(&o.want.Wait, "wait", disk.Wait, "")
	o.Bool("verbose", false, "") // All is said always.
	return o
}

func (o *options) find() {
	o.StringVar(&o.want.Label, "label", "", "")
	o.StringVar(&o.want.UUID, "uuid", "", "")
	o.StringVar(&o.want.Device, "device", "", "")
}

func (o *options) making() {
	o.Var(&o.format, "format", "")
	o.StringVar(&o.partition, "partition", "none", "")
}

func (o *options) mounting() {
	o.StringVar(&o.mount, "o", "", "")
	o.BoolVar(&o.want.Check, "check", true, "")
}

func (o *options) key() {
	o.StringVar(&o.how.KeyFile, "key-file", "key", "")
	o.StringVar(&o.how.KeyFile, "k", "key", "")
	o.StringVar(&o.how.PBKDF, "pbkdf", "", "")
}

// parse parses the flags and checks what they say.
func (o *options) parse(args []string, least, most int) error {
	if err := o.Parse(args); err != nil {
		return err
	}
	if o.NArg() < least || most >= 0 && o.NArg() > most {
		return fmt.Errorf("%s: %d arguments after the options", o.Name(), o.NArg())
	}
	o.want.Format = o.format
	if o.partition != "none" {
		o.want.Table = o.partition
	}
	if o.mount != "" {
		o.how.Mount = strings.Split(o.mount, ",")
	}
	if !filepath.IsAbs(o.how.KeyFile) {
		o.how.KeyFile = filepath.Join("/etc/dm-crypt", o.how.KeyFile)
	}
	if o.how.PBKDF != "" && o.how.PBKDF != "pbkdf2" {
		return fmt.Errorf("-pbkdf %q: want pbkdf2, for a key that is random; without it, cryptsetup's default is used", o.how.PBKDF)
	}
	ways := 0
	for _, way := range []string{o.want.Label, o.want.UUID, o.want.Device} {
		if way != "" {
			ways++
		}
	}
	if ways > 1 && !o.want.Force && o.Name() != "format" {
		return errors.New("only one of -label, -uuid and -device")
	}
	return nil
}

// validated returns the task that does what is wanted.
func (o *options) validated(folders ...disk.Folder) (task, error) {
	if err := o.want.Validate(); err != nil {
		return nil, err
	}
	if m := o.want.Mount; m != "" && (!filepath.IsAbs(m) || filepath.Clean(m) == "/") {
		return nil, fmt.Errorf("mount point %q: want an absolute path other than /", m)
	}
	return func(ctx context.Context, y disk.System) error {
		if o.want.Crypt != "" {
			if info, err := os.Stat(o.how.KeyFile); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
				return fmt.Errorf("there is no key in %s", o.how.KeyFile)
			}
		}
		if err := y.Run(ctx, o.want, o.how); err != nil {
			return err
		}
		for _, f := range folders {
			if err := f.Make(o.want.Mount); err != nil {
				return fmt.Errorf("cannot make the folder %s in %s: %w", f.Name, o.want.Mount, err)
			}
		}
		return nil
	}, nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}
