// Package kexec loads a kernel that the next reboot starts in place of the firmware.
//
// PID 1 starts it: whenever a kernel is loaded at a reboot (LINUX_REBOOT_CMD_KEXEC of reboot(2)).
//
// Sources: kexec_file_load(2), reboot(2), Documentation/admin-guide/sysctl/kernel.rst.
package kexec

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// DefaultKernel and DefaultInitrd are used when no files are named.
	DefaultKernel = "/boot/kernel"
	DefaultInitrd = "/boot/initrd"
	// lineLimit is the longest command line of any architecture, with its final zero byte, in bytes.
	lineLimit = 4096
)

// Options say what is loaded. Without Kernel, DefaultKernel and, if it exists, DefaultInitrd are; a kernel
// that is named has only the initrd that is named.
type Options struct {
	Kernel, Initrd string
	Append         string // appended to the command line of the kernel that runs
}

// Load loads a kernel.
func Load(o Options) error {
	running, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("cannot read the kernel's command line: %w", err)
	}
	line, err := commandLine(string(running), o.Append)
	if err != nil {
		return err
	}
	kernel, initrd, err := o.files()
	if err != nil {
		return err
	}
	k, err := os.Open(kernel)
	if err != nil {
		return fmt.Errorf("cannot load a kernel: %w", err)
	}
	defer k.Close()
	descriptor, flags := -1, unix.KEXEC_FILE_NO_INITRAMFS
	if initrd != "" {
		i, err := os.Open(initrd)
		if err != nil {
			return fmt.Errorf("cannot load an initrd: %w", err)
		}
		defer i.Close()
		descriptor, flags = int(i.Fd()), 0
	}
	if err := unix.KexecFileLoad(int(k.Fd()), descriptor, line, flags); err != nil {
		return fmt.Errorf("cannot load the kernel %s: %w%s", kernel, err, reason(err))
	}
	return nil
}

// Unload makes the next reboot an ordinary one.
func Unload() error {
	if err := unix.KexecFileLoad(-1, -1, "", unix.KEXEC_FILE_UNLOAD); err != nil {
		return fmt.Errorf("cannot unload the kernel: %w: the next reboot starts it", err)
	}
	return nil
}

// files returns the files of kernel and initrd; the latter may be empty.
func (o Options) files() (kernel, initrd string, err error) {
	kernel, initrd = cmp.Or(o.Kernel, DefaultKernel), o.Initrd
	_, err = os.Stat(kernel)
	if o.Kernel == "" && errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("the image has no %s: name a kernel with --kernel", DefaultKernel)
	}
	if o.Kernel == "" && initrd == "" {
		if _, err := os.Stat(DefaultInitrd); err == nil {
			initrd = DefaultInitrd
		}
	}
	return kernel, initrd, nil
}

// commandLine returns the command line of the new kernel.
func commandLine(running, more string) (string, error) {
	line := strings.TrimSpace(strings.TrimSpace(running) + " " + strings.TrimSpace(more))
	switch {
	case strings.ContainsRune(line, 0):
		return "", errors.New("the kernel's command line has a zero byte")
	case len(line) >= lineLimit:
		return "", fmt.Errorf("the kernel's command line would have %d bytes: less than %d are possible", len(line), lineLimit)
	}
	return line, nil
}

// reason explains an error of kexec_file_load(2).
func reason(err error) string {
	for e, why := range map[syscall.Errno]string{
		unix.ENOSYS:       "the running kernel was built without CONFIG_KEXEC_FILE",
		unix.EPERM:        "CAP_SYS_BOOT is missing, kernel.kexec_load_disabled is set, or the kernel is locked down",
		unix.EACCES:       "CAP_SYS_BOOT is missing, kernel.kexec_load_disabled is set, or the kernel is locked down",
		unix.ENOEXEC:      "the file is no kernel for this machine in a format that the running kernel loads",
		unix.EBUSY:        "another kernel is being loaded",
		unix.EKEYREJECTED: "the running kernel wants a signature that it knows",
		unix.ENOKEY:       "the running kernel wants a signature that it knows",
		unix.EBADMSG:      "the running kernel wants a signature that it knows",
		unix.ENODATA:      "the running kernel wants a signature",
		unix.ENOMEM:       "there is too little memory for a second kernel and its initrd",
	} {
		if errors.Is(err, e) {
			return " (" + why + ")"
		}
	}
	return ""
}
