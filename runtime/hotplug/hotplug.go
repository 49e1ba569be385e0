// Package hotplug brings CPUs and memory online that are added to a running machine. The
// kernel leaves both offline and expects user space to decide.
//
// CPUs that were offline at boot stay offline (maxcpus=, or a CPU that a container has
// taken offline). Memory is brought online, also that of slots filled before the boot,
// unless memhp_default_state= on the command line decides about it.
//
// Sources: the kernel's Documentation/core-api/cpu_hotplug.rst,
// admin-guide/mm/memory-hotplug.rst and admin-guide/cputopology.rst (the format of
// lists); Documentation/ABI/testing/sysfs-devices-system-cpu and -memory.
package hotplug

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"keelson/runtime/paths"
	"keelson/runtime/uevent"
)

// Machine is where the kernel shows CPUs and memory.
type Machine struct {
	Sys   string // /sys
	Known string // file with the CPUs that were present, as the kernel lists them
}

// This is the running machine.
var This = Machine{Sys: "/sys", Known: paths.State + "/cpus"}

func (m Machine) path(name ...string) string {
	return filepath.Join(append([]string{m.Sys, "devices/system"}, name...)...)
}

// Begin makes the kernel bring added memory online, unless the administrator has decided
// about that, brings existing memory online, and records which CPUs are present. It is
// not an error if the kernel supports neither.
func (m Machine) Begin(decided bool) error {
	errs := []error{m.note()}
	if decided {
		return errors.Join(errs...)
	}
	err := os.WriteFile(m.path("memory/auto_online_blocks"), []byte("online"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errs...)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("cannot make the kernel bring added memory online: %w", err))
	}
	blocks, _ := filepath.Glob(m.path("memory/memory[0-9]*")) // The pattern is well-formed.
	for _, block := range blocks {
		if _, err := m.online(block+"/state", "offline", "online"); err != nil {
			errs = append(errs, fmt.Errorf("cannot bring memory online: %w", err))
		}
	}
	return errors.Join(errs...)
}

// online writes on to a file that contains off, and reports whether it did.
func (m Machine) online(file, off, on string) (bool, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(text)) != off {
		return false, nil // A CPU that cannot be offline has no such file.
	}
	if err == nil {
		err = os.WriteFile(file, []byte(on), 0)
	}
	return err == nil, err
}

// Handle brings online the CPUs and memory that events report, and logs them. After lost
// events it looks for CPUs that were not present before.
func (m Machine) Handle(events []uevent.Event, log *slog.Logger) {
	cpus, blocks := m.added(events)
	var up []string
	for _, cpu := range cpus {
		done, err := m.online(m.path("cpu", cpu, "online"), "0", "1")
		if err != nil {
			log.Error("a CPU was added and is not used", "cpu", cpu, "error", err)
		}
		if done {
			up = append(up, cpu)
		}
	}
	if len(up) > 0 {
		log.Info("CPUs were added and are used", "cpus", strings.Join(up, " "))
	}
	m.reportMemory(blocks, log)
	if err := m.note(); err != nil {
		log.Error("CPUs that are added later may not be used", "error", err)
	}
}

// added returns the added CPUs and memory blocks.
func (m Machine) added(events []uevent.Event) (cpus, blocks []string) {
	seen := map[string]bool{}
	for _, e := range events {
		kind, name := filepath.Split(e.Added)
		if e.Lost {
			for _, cpu := range m.unknown() {
				if !seen[cpu] {
					cpus = append(cpus, cpu)
				}
				seen[cpu] = true
			}
		}
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		switch kind {
		case "cpu/":
			cpus = append(cpus, name)
		case "memory/":
			blocks = append(blocks, name)
		}
	}
	return cpus, blocks
}

// reportMemory logs how much memory was added and how much of it is used.
func (m Machine) reportMemory(blocks []string, log *slog.Logger) {
	if len(blocks) == 0 {
		return
	}
	text, _ := os.ReadFile(m.path("memory/block_size_bytes"))             // Without it the size is 0.
	size, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 64) // 0 on failure.
	used := 0
	for _, block := range blocks {
		// A block may have been removed meanwhile.
		if text, err := os.ReadFile(m.path("memory", block, "state")); err == nil && strings.TrimSpace(string(text)) == "online" {
			used++
		}
	}
	mib := func(n int) uint64 { return uint64(n) * (size >> 20) }
	if used < len(blocks) {
		log.Warn("memory was added and is not all used", "MiB", mib(len(blocks)), "used", mib(used), "see", m.path("memory/auto_online_blocks"))
		return
	}
	log.Info("memory was added and is used", "MiB", mib(used))
}

// note records which CPUs are present.
func (m Machine) note() error {
	text, err := os.ReadFile(m.path("cpu/present"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(m.Known, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot record which CPUs are present: %w", err)
	}
	return nil
}

// unknown returns the CPUs that are present and were not when note was called.
func (m Machine) unknown() []string {
	known, err := os.ReadFile(m.Known)
	if err != nil {
		return nil // An added CPU cannot be distinguished from one that is offline on purpose.
	}
	present, _ := os.ReadFile(m.path("cpu/present")) // On failure, there are none.
	before := ParseList(string(known))
	var names []string
	for _, n := range ParseList(string(present)) {
		if _, found := slices.BinarySearch(before, n); !found {
			names = append(names, "cpu"+strconv.Itoa(n))
		}
	}
	return names
}
