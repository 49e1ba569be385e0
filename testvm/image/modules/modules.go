// Package modules finds which kernel modules a set of names needs, from the
// tables depmod writes.
//
// It is pure and not for loading modules. Sources: modules.dep(5),
// modprobe.d(5) for softdep. Names use underscores; a name asked for may use
// dashes, as the kernel takes both for the same.
package modules

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Defaults is the name that stands for Default among others.
const Defaults = "default"

// Default are the modules taken when a YAML file does not say: what QEMU's and
// clouds' machines have, disks of PCs and servers, the devices of a Raspberry
// Pi that a server has a use for, and the file systems and links containers
// use. Those a kernel does not have are left out.
var Default = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng",
	"virtio_scsi", "virtio_balloon", "vmw_vsock_virtio_transport",
	"nvme", "ahci", "ata_piix", "sd_mod", "sr_mod", "loop",
	"xhci_pci", "ehci_pci", "usb_storage", "uas", "mmc_block", "sdhci_pci", "sdhci_acpi",
	"overlay", "squashfs", "erofs", "ext4", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1",
	"veth", "bridge", "dummy", "wireguard", "af_packet", "8021q",
	"button", "evdev", "gpio_keys", "gpio_pl061", "virtio_input",
	"rtc_cmos", "rtc_efi", "rtc_pl031",
	"bcm2835", "bcm2835_wdt", "bcm2835_rng", "bcm2835_thermal", "bcm2711_thermal", "raspberrypi_cpufreq",
	"sdhci_iproc", "reset_raspberrypi", "dwc2", "phy_generic", "genet", "smsc95xx", "lan78xx",
}

// Tables are the texts depmod wrote.
type Tables struct {
	Dep, Softdep, Alias, Builtin string
}

// MissingError is a module that was asked for and does not exist.
type MissingError struct{ Name string }

func (e *MissingError) Error() string { return fmt.Sprintf("the kernel has no module %q", e.Name) }

// Closure are the files of the asked modules and of all they need, hard or
// soft, as paths relative to /lib/modules/VERSION, in order. Names that are
// built in need no file. With strict, a name that does not exist is a
// *MissingError, otherwise it is passed over. The one name "all" means all;
// Defaults among others adds those of Default that exist.
func Closure(t Tables, asked []string, strict bool) ([]string, error) {
	byName, needs := parseDep(t.Dep)
	if len(asked) == 1 && asked[0] == "all" {
		files := make([]string, 0, len(byName))
		for _, f := range byName {
			files = append(files, f)
		}
		slices.Sort(files)
		return files, nil
	}
	builtin := map[string]bool{}
	for f := range strings.Lines(t.Builtin) {
		builtin[Name(strings.TrimSpace(f))] = true
	}
	soft, alias := parseSoftdep(t.Softdep), parseAlias(t.Alias)
	taken := map[string]bool{}
	var take func(file string)
	take = func(file string) {
		if file == "" || taken[file] {
			return
		}
		taken[file] = true
		for _, f := range needs[file] {
			take(f)
		}
		for _, name := range soft[Name(file)] {
			take(byName[name])
			for _, real := range alias[name] {
				take(byName[real])
			}
		}
	}
	for _, a := range asked {
		if a == Defaults {
			for _, name := range Default {
				take(byName[name])
			}
			continue
		}
		name := Name(a)
		if byName[name] == "" && !builtin[name] && strict {
			return nil, &MissingError{a}
		}
		take(byName[name])
	}
	files := make([]string, 0, len(taken))
	for f := range taken {
		files = append(files, f)
	}
	slices.Sort(files)
	return files, nil
}

// Name is the name of the module in a file, or a name in its usual form.
func Name(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// parseDep reads lines of the form: file: file file.
func parseDep(text string) (byName map[string]string, needs map[string][]string) {
	byName, needs = map[string]string{}, map[string][]string{}
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		byName[Name(file)] = file
		needs[file] = strings.Fields(rest)
	}
	return byName, needs
}

// parseSoftdep reads lines of the form: softdep name pre: a b post: c.
func parseSoftdep(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "softdep" {
			continue
		}
		for _, w := range f[2:] {
			if w != "pre:" && w != "post:" {
				out[Name(f[1])] = append(out[Name(f[1])], Name(w))
			}
		}
	}
	return out
}

// parseAlias reads lines of the form: alias pattern name. Only patterns that
// are plain names matter here.
func parseAlias(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "alias" && !strings.ContainsAny(f[1], "*?[:") {
			out[Name(f[1])] = append(out[Name(f[1])], Name(f[2]))
		}
	}
	return out
}
