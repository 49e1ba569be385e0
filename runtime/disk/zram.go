package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/readfile"
)

// ZRAM is swap in compressed memory.
type ZRAM struct {
	Percent   int   // of the memory; or
	Size      int64 // in bytes, before compression
	Algorithm string
	Priority  int // over that of other swap, which is negative unless set
}

// ParseZRAMSize parses N% of the memory, or a size.
func ParseZRAMSize(text string) (ZRAM, error) {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.Atoi(number)
		if err != nil || n <= 0 || n > 1000 {
			return ZRAM{}, fmt.Errorf("size %q: want 1%% to 1000%%", text)
		}
		return ZRAM{Percent: n}, nil
	}
	size, err := ParseSize(text)
	return ZRAM{Size: size}, err
}

// ZRAM makes a zram device and turns swap on it on. With one that is in use it does nothing.
func (y System) ZRAM(z ZRAM) error {
	swaps, _ := readfile.Limited("/proc/swaps", 1<<20)
	if strings.Contains(string(swaps), "/zram") {
		y.say("there is swap on zram already")
		return nil
	}
	if z.Percent > 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return os.NewSyscallError("sysinfo", err)
		}
		z.Size = int64(uint64(info.Totalram)*uint64(info.Unit)/100) * int64(z.Percent)
	}
	z.Size &^= 4095
	name, err := y.freeZRAM()
	if err != nil {
		return err
	}
	if err := y.startZRAM(name, z); err != nil {
		// Another attempt needs the device as it was.
		return errors.Join(fmt.Errorf("cannot make swap on %s: %w", name, err), y.setBlock(name, "reset", "1"))
	}
	y.say("%s is in use as swap, %d MiB before compression (%s)", name, z.Size>>20, chosen(y.attribute(name, "comp_algorithm")))
	return nil
}

func (y System) startZRAM(name string, z ZRAM) error {
	if z.Algorithm != "" {
		if err := y.setBlock(name, "comp_algorithm", z.Algorithm); err != nil {
			return fmt.Errorf("the kernel has %s: %w", y.attribute(name, "comp_algorithm"), err)
		}
	}
	if err := y.setBlock(name, "disksize", strconv.FormatInt(z.Size, 10)); err != nil {
		return err
	}
	node := filepath.Join(y.Dev, name)
	if err := y.tool(Command{Name: "mkswap", Args: []string{node}}); err != nil {
		return err
	}
	return swapOn(node, z.Priority)
}

// freeZRAM returns the name of a device without content. The first one comes with the module.
func (y System) freeZRAM() (string, error) {
	add := filepath.Join(y.Sys, "class/zram-control/hot_add")
	if !exists(add) {
		loadModule("zram")
	}
	names, _ := filepath.Glob(filepath.Join(y.Sys, "class/block/zram*")) // The pattern is right.
	for _, name := range names {
		if name = filepath.Base(name); y.attribute(name, "disksize") == "0" {
			return name, nil
		}
	}
	text, err := readfile.Limited(add, attributeLimit) // Reading it adds a device.
	if err != nil {
		return "", fmt.Errorf("the kernel has no zram (CONFIG_ZRAM; as a module, the image has to contain it): %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("unexpected number of a zram device: %w", err)
	}
	return "zram" + strconv.Itoa(n), nil
}

func (y System) setBlock(name, attribute, value string) error {
	return os.WriteFile(filepath.Join(y.Sys, "class/block", name, attribute), []byte(value), 0)
}

// chosen returns the word in brackets, which is the choice.
func chosen(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// loadModule has the kernel request a module from the machine's modprobe, as for a network
// interface of that name, which there is not (dev_load() of net/core/dev_ioctl.c). It needs
// CAP_SYS_MODULE. Whether there is one shows afterwards.
func loadModule(name string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return
	}
	_ = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr)
}
