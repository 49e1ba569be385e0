// Package modules selects the kernel modules that a set of names needs, from the tables
// that depmod(8) writes (runtime/depmod). It opens no file and loads no module.
package modules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"keelson/runtime/depmod"
)

// Defaults is the name that stands for the modules of Default.
const Defaults = "default"

// Default lists the modules of a YAML file that names none: for the machines of QEMU and
// of clouds, disks of PCs and servers, the devices of a Raspberry Pi that a server uses,
// and the file systems and links of containers. Those that a kernel lacks are skipped.
var Default = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng",
	"virtio_scsi", "virtio_balloon", "vmw_vsock_virtio_transport",
	"nvme", "ahci", "ata_piix", "sd_mod", "sr_mod", "loop", "dm_verity",
	"xhci_pci", "ehci_pci", "usb_storage", "uas", "mmc_block", "sdhci_pci", "sdhci_acpi",
	"overlay", "squashfs", "erofs", "ext4", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1",
	"veth", "bridge", "dummy", "wireguard", "af_packet", "8021q",
	"button", "evdev", "gpio_keys", "gpio_pl061", "virtio_input",
	"rtc_cmos", "rtc_efi", "rtc_pl031", "i6300esb", "iTCO_wdt", "sbsa_gwdt", "diag288_wdt",
	"bcm2835", "bcm2835_wdt", "bcm2835_rng", "bcm2835_thermal", "bcm2711_thermal", "raspberrypi_cpufreq",
	"sdhci_iproc", "reset_raspberrypi", "dwc2", "phy_generic", "genet", "smsc95xx", "lan78xx",
}

// Tables holds the texts that depmod wrote.
type Tables struct {
	Dep, Softdep, Alias, Builtin string
}

// MissingError is returned for a module that the kernel does not have.
type MissingError struct{ Name string }

func (e *MissingError) Error() string { return fmt.Sprintf("the kernel has no module %q", e.Name) }

// Closure returns the files of the asked modules and of all modules they need, hard or
// soft, as sorted paths relative to /lib/modules/VERSION. Names that are built in need
// no file. With strict, a name that does not exist is a *MissingError, otherwise it is
// skipped. The single name "all" stands for all modules; Defaults among others adds
// those of Default that exist.
func Closure(t Tables, asked []string, strict bool) ([]string, error) {
	s, err := parse(t)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the tables of depmod: %w", err)
	}
	for _, name := range asked {
		switch {
		case name == "all" && len(asked) == 1:
			for _, m := range s.modules {
				s.taken[m.Path] = true
			}
		case name == Defaults:
			for _, name := range Default {
				s.takeName(name)
			}
		case strict && s.modules[depmod.Name(name)].Path == "" && !s.builtin[depmod.Name(name)]:
			return nil, &MissingError{name}
		default:
			s.takeName(depmod.Name(name))
		}
	}
	files := slices.AppendSeq(make([]string, 0, len(s.taken)), maps.Keys(s.taken))
	slices.Sort(files)
	return files, nil
}

// selection is the set of files taken so far.
type selection struct {
	modules map[string]depmod.Module
	builtin map[string]bool
	soft    map[string]depmod.Soft
	alias   map[string][]string
	taken   map[string]bool
}

func parse(t Tables) (*selection, error) {
	modules, depErr := depmod.ParseDep(strings.NewReader(t.Dep))
	builtin, builtinErr := depmod.ParseBuiltin(strings.NewReader(t.Builtin))
	soft, softErr := depmod.ParseSoftdep(strings.NewReader(t.Softdep))
	aliases, aliasErr := depmod.ParseAlias(strings.NewReader(t.Alias))
	return &selection{modules: modules, builtin: builtin, soft: soft, alias: plainAliases(aliases), taken: map[string]bool{}},
		errors.Join(depErr, builtinErr, softErr, aliasErr)
}

// takeName takes the file of a module, if it has one.
func (s *selection) takeName(name string) {
	if m := s.modules[name]; m.Path != "" {
		s.take(m.Path)
	}
}

// take takes a file and what its module needs.
func (s *selection) take(file string) {
	if s.taken[file] {
		return
	}
	s.taken[file] = true
	name := depmod.Name(file)
	for _, dep := range s.modules[name].Deps {
		s.take(dep)
	}
	for _, other := range slices.Concat(s.soft[name].Pre, s.soft[name].Post) {
		s.takeName(other)
		for _, module := range s.alias[other] {
			s.takeName(module)
		}
	}
}

// plainAliases returns the modules of aliases that are plain names, by alias.
func plainAliases(aliases []depmod.Alias) map[string][]string {
	modules := map[string][]string{}
	for _, a := range aliases {
		if !strings.ContainsAny(a.Pattern, "*?[:") {
			modules[depmod.Name(a.Pattern)] = append(modules[depmod.Name(a.Pattern)], a.Module)
		}
	}
	return modules
}
