package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"keelson/runtime/kexec"
	"keelson/services/cli"
	"keelson/services/control"
)

// kexecFlags are the options of reboot for starting another kernel.
type kexecFlags struct {
	kexec   bool
	options kexec.Options
}

// add adds the options to a verb.
func (k *kexecFlags) add(v *cli.Verb) {
	v.Example += "\n" + v.Use + " --kexec # start /boot/kernel of the image, without the firmware" +
		"\n" + v.Use + " --kexec --kernel /var/kernel # another one"
	others := v.Flags
	v.Flags = func(f *pflag.FlagSet) {
		others(f)
		f.BoolVar(&k.kexec, "kexec", false, "start another kernel in place of the firmware")
		f.StringVar(&k.options.Kernel, "kernel", "", "with --kexec: its `FILE`, "+kexec.DefaultKernel+" by default")
		f.StringVar(&k.options.Initrd, "initrd", "", "with --kexec: `FILE` of its initrd; without --kernel, "+kexec.DefaultInitrd+" if that exists")
		f.StringVar(&k.options.Append, "append", "", "with --kexec: `TEXT` to append to the command line of the running kernel")
	}
}

// wanted reports whether a kernel is to be started, or what is wrong with the options.
func (k *kexecFlags) wanted(force bool) (bool, error) {
	switch {
	case k.kexec && force:
		return false, errors.New("--kexec stops everything in order: it cannot be used with -f")
	case !k.kexec && k.options != kexec.Options{}:
		return false, errors.New("--kernel, --initrd and --append need --kexec")
	}
	return k.kexec, nil
}

// run loads the kernel and orders the reboot that starts it. If nobody takes the order, the next
// reboot is an ordinary one.
func (k *kexecFlags) run(ctx context.Context, args []string, order func(context.Context, []string) (int, error)) (int, error) {
	if !isInit("/proc/1/exe") {
		return control.CodeFailed, errors.New("cannot start another kernel: PID 1 here is not keelson's /init")
	}
	if err := kexec.Load(k.options); err != nil {
		return control.CodeFailed, err
	}
	code, err := order(ctx, args)
	if err != nil {
		err = errors.Join(err, kexec.Unload())
	}
	return code, err
}
