package uevent

import "slices"

// All stands for all devices.
const All = "all"

// changedLimit is the number of devices from which Changed returns All.
const changedLimit = 64

// Changed returns the numbers of the disks and serial ports that events report, or All after lost
// events.
func Changed(events []Event) []string {
	var all []string
	for _, e := range events {
		switch {
		case e.Lost:
			return []string{All}
		case e.Named != "" && !slices.Contains(all, e.Named):
			all = append(all, e.Named)
		}
	}
	if len(all) > changedLimit {
		return []string{All}
	}
	return all
}
