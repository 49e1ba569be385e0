package mounts

import (
	"errors"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const ioctlStopArray = 0x932 // STOP_ARRAY of linux/raid/md_u.h: _IO(MD_MAJOR, 0x32)

// stackPlan returns the loop, device-mapper and md devices to stop next: those with no
// other device on them that are not needed.
func stackPlan(devices []blockDevice, needed map[uint64]bool) []blockDevice {
	var plan []blockDevice
	for _, d := range devices {
		if d.kind != notStacked && d.holders == 0 && !needed[d.dev] {
			plan = append(plan, d)
		}
	}
	return plan
}

// below returns devs with all devices that they lie on, and the disks of partitions.
func below(devices []blockDevice, devs ...uint64) map[uint64]bool {
	byName, byDev := make(map[string]blockDevice, len(devices)), make(map[uint64]blockDevice, len(devices))
	for _, d := range devices {
		byName[d.name], byDev[d.dev] = d, d
	}
	found := make(map[uint64]bool, len(devs))
	for len(devs) > 0 {
		dev := devs[len(devs)-1]
		devs = devs[:len(devs)-1]
		if found[dev] {
			continue
		}
		found[dev] = true
		d := byDev[dev]
		for _, name := range append([]string{d.disk}, d.slaves...) {
			if lower, ok := byName[name]; ok {
				devs = append(devs, lower.dev)
			}
		}
	}
	return found
}

// mountedDevices returns the devices of the mounts in infos that want selects.
func mountedDevices(infos []*mountinfo.Info, want func(*mountinfo.Info) bool) []uint64 {
	var devs []uint64
	for _, m := range infos {
		if want(m) {
			devs = append(devs, unix.Mkdev(uint32(m.Major), uint32(m.Minor)))
		}
	}
	return devs
}

// unmountRounds unmounts file systems and stops devices alternately, since they may lie on
// one another in any order, until nothing changes. It returns what stays mounted.
func unmountRounds(infos []*mountinfo.Info) []Mounted {
	roots := mountedDevices(infos, func(m *mountinfo.Info) bool { return m.Mountpoint == "/" })
	mounts := UnmountPlan(infos)
	limit := time.Now().Add(roundsLimit)
	for end := time.Now().Add(busyPatience); ; {
		before := len(mounts)
		var err error
		mounts, err = unmountEach(mounts)
		stopped, left := stopDevices(roots)
		now := time.Now()
		switch {
		case left == 0 && !errors.Is(err, unix.EBUSY), now.After(limit):
			return mounts
		case len(mounts) < before || stopped:
			end = now.Add(busyPatience)
			continue
		case now.After(end):
			return mounts
		}
		<-time.After(busyPause)
	}
}

// stopDevices stops the devices of stackPlan. It reports whether one stopped and returns
// how many did not.
func stopDevices(roots []uint64) (stopped bool, left int) {
	devices := blockDevices(sysBlock)
	plan := stackPlan(devices, below(devices, roots...))
	for _, d := range plan {
		_ = stopDevice(d) // Its result is read below; a busy device is tried in the next round.
		now, err := readBlockDevice(sysBlock, d.name)
		if err != nil || now.kind == notStacked {
			stopped = true
		} else {
			left++
		}
	}
	return stopped, left
}

// stopDevice stops a device. A loop device in use is cleared by the kernel when
// its last user closes it (loop(4), LO_FLAGS_AUTOCLEAR).
func stopDevice(d blockDevice) error {
	switch d.kind {
	case loopDevice:
		return withDevice(d, 0, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) })
	case arrayDevice:
		return withDevice(d, 0, func(fd int) error { return unix.IoctlSetInt(fd, ioctlStopArray, 0) })
	case mapperDevice:
		return removeMapped(d.dev)
	}
	return nil
}
