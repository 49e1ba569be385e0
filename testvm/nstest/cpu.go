package nstest

import (
	"math"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// onLowestCPU runs start, which makes namespaces, on the processor that gives them the
// lowest numbers. Only a mount namespace with a lower number can bind another one, and
// since Linux 6.18 each processor numbers namespaces in batches: a later namespace made
// on another processor may have a lower number. Namespaces made on the processor with
// the lowest numbers can bind all later ones.
func onLowestCPU(start func() error) error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	var lowest unix.CPUSet
	least := uint64(math.MaxUint64)
	for cpu := range len(all) * 64 {
		if !all.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if id := namespaceNumber(one); id < least {
			lowest, least = one, id
		}
	}
	if least == math.MaxUint64 { // an older kernel: numbers increase with time
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &lowest); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	return start()
}

// namespaceNumber returns the number of a mount namespace made on a processor, or the
// maximum if the kernel does not report it.
func namespaceNumber(cpu unix.CPUSet) uint64 {
	number := make(chan uint64)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		number <- func() uint64 {
			if unix.SchedSetaffinity(0, &cpu) != nil || unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS) != nil {
				return math.MaxUint64
			}
			ns, err := os.Open("/proc/thread-self/ns/mnt")
			if err != nil {
				return math.MaxUint64
			}
			defer ns.Close()
			id, err := unix.IoctlGetInt(int(ns.Fd()), unix.NS_GET_MNTNS_ID) // an int has 64 bits wherever keelson runs
			if err != nil {
				return math.MaxUint64
			}
			return uint64(id)
		}()
	}()
	return <-number
}

// onAllCPUs removes onLowestCPU's restriction from this process.
func onAllCPUs() error {
	var all unix.CPUSet
	for cpu := range len(all) * 64 {
		all.Set(cpu)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &all); err != nil && err != unix.ESRCH {
			return err
		}
	}
	runtime.SetDefaultGOMAXPROCS()
	return nil
}
