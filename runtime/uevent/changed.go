package uevent

import "slices"

// All stands for all devices.
const All = "all"

// changedLimit is the number of devices from which Changed and Merge return All.
const changedLimit = 64

// Changed returns the numbers of the disks and serial ports that events report, or All after lost
// events.
func Changed(events []Event) []string {
	var all []string
	for _, e := range events {
		switch {
		case e.Lost:
			return []string{All}
		case e.Named != "":
			all = append(all, e.Named)
		}
	}
	return Merge(nil, all)
}

// Merge adds devices to others; each is there once. Of more than 64 the result is All.
func Merge(devices, others []string) []string {
	for _, d := range others {
		switch {
		case slices.Contains(devices, All):
			return devices
		case d == All || len(devices) == changedLimit && !slices.Contains(devices, d):
			return []string{All}
		case !slices.Contains(devices, d):
			devices = append(devices, d)
		}
	}
	return devices
}
