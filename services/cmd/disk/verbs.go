package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"keelson/runtime/disk"
	"keelson/runtime/disk/plan"
)

func parseData(args []string) (task, error) {
	o := newOptions("data")
	o.find()
	o.making()
	o.mounting()
	o.key()
	o.BoolVar(&o.want.Grow, "grow", true, "")
	o.StringVar(&o.want.Crypt, "crypt", "", "")
	if err := o.parse(args, 1, -1); err != nil {
		return nil, err
	}
	if o.want.Type == plan.Swap {
		return nil, errors.New("swap is not mounted: use the verb swap")
	}
	var folders []disk.Folder
	for _, text := range o.Args()[1:] {
		f, err := disk.ParseFolder(text)
		if err != nil {
			return nil, err
		}
		folders = append(folders, f)
	}
	o.want.Mount = filepath.Clean(o.Arg(0))
	return o.validated(folders...)
}

// parseFormat parses the command line of linuxkit/format. Without -force, a device that has been
// formatted already is left as it is.
func parseFormat(args []string) (task, error) {
	o := newOptions("format")
	o.StringVar(&o.want.Label, "label", "", "")
	o.StringVar(&o.partition, "partition", plan.GPT, "")
	o.BoolVar(&o.want.Force, "force", false, "")
	if err := o.parse(args, 0, 1); err != nil {
		return nil, err
	}
	o.want.Format = []string{plan.Any}
	if device := o.Arg(0); device != "" {
		o.want.Format = []string{device}
		if o.want.Label == "" || o.want.Force {
			o.want.Device = device
		}
	}
	return o.validated()
}

func parseMount(args []string) (task, error) {
	o := newOptions("mount")
	o.find()
	o.mounting()
	o.BoolVar(&o.want.Grow, "grow", false, "")
	if err := o.parse(args, 1, 2); err != nil {
		return nil, err
	}
	if o.NArg() == 2 {
		if o.want.Label+o.want.UUID+o.want.Device != "" {
			return nil, errors.New("either a device, or one of -label, -uuid and -device")
		}
		o.want.Device = o.Arg(0)
	}
	o.want.Mount = filepath.Clean(o.Arg(o.NArg() - 1))
	return o.validated()
}

func parseExtend(args []string) (task, error) {
	o := newOptions("extend")
	if err := o.parse(args, 0, -1); err != nil {
		return nil, err
	}
	if _, err := o.validated(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, y disk.System) error { return y.Extend(ctx, o.want.Type, o.Args()) }, nil
}

// parseCrypt parses the command line of linuxkit/dm-crypt. An empty device becomes a LUKS2 volume
// with a file system.
func parseCrypt(args []string) (task, error) {
	o := newOptions("crypt")
	o.key()
	o.Bool("l", true, "")
	o.Bool("luks", true, "")
	if err := o.parse(args, 2, 2); err != nil {
		return nil, err
	}
	o.want.Crypt, o.want.Device = o.Arg(0), o.Arg(1)
	o.want.Format = []string{o.want.Device}
	return o.validated()
}

func parseSwap(args []string) (task, error) {
	o := newOptions("swap")
	o.find()
	o.making()
	var f disk.SwapFile
	var size string
	var conditions list
	o.StringVar(&f.Path, "file", "", "")
	o.StringVar(&f.Path, "path", "", "")
	o.StringVar(&size, "size", "", "")
	o.Var(&conditions, "condition", "")
	o.BoolVar(&f.Encrypt, "encrypt", false, "")
	o.Bool("debug", false, "") // All is said always.
	if err := o.parse(args, 0, 0); err != nil {
		return nil, err
	}
	o.want.Type, o.want.Use, o.want.Grow = plan.Swap, true, false
	if f.Path == "" {
		if size != "" || len(conditions) > 0 || f.Encrypt {
			return nil, errors.New("-size, -condition and -encrypt need -file")
		}
		return o.validated()
	}
	if o.want.Label+o.want.UUID+o.want.Device != "" || len(o.want.Format) > 0 {
		return nil, errors.New("either -file, or a swap area on a disk")
	}
	if !filepath.IsAbs(f.Path) {
		return nil, fmt.Errorf("swap file %q: want an absolute path", f.Path)
	}
	for _, text := range conditions {
		c, err := disk.ParseCondition(text)
		if err != nil {
			return nil, err
		}
		f.Conditions = append(f.Conditions, c)
	}
	var err error
	if f.Size, err = disk.ParseSize(size); err != nil {
		return nil, err
	}
	return func(_ context.Context, y disk.System) error { return y.SwapFile(f) }, nil
}

func parseZRAM(args []string) (task, error) {
	o := newOptions("zram")
	size := o.String("size", "50%", "")
	algorithm := o.String("algorithm", "", "")
	priority := o.Int("priority", 100, "")
	if err := o.parse(args, 0, 0); err != nil {
		return nil, err
	}
	z, err := disk.ParseZRAMSize(*size)
	if err != nil {
		return nil, err
	}
	if *priority < 1 || *priority > 32767 {
		return nil, fmt.Errorf("priority %d: want 1 to 32767", *priority)
	}
	z.Algorithm, z.Priority = *algorithm, *priority
	return func(_ context.Context, y disk.System) error { return y.ZRAM(z) }, nil
}
