package events

import (
	"cmp"

	"keelson/runtime/timeline"
)

// Boot returns the events of a timeline that come before the supervisor: the stages of the boot
// and the results of onboot containers.
func Boot(all []timeline.Event) (list []Event) {
	for _, e := range all {
		event := Event{At: e.At, Kind: Stage, Name: e.Stage, Text: e.Outcome(), Took: e.Took}
		switch e.Stage {
		case timeline.Onboot:
			event.Kind, event.Name = Onboot, e.Name
		case timeline.Kernel, timeline.Mounts, timeline.Modules, timeline.Clock, timeline.Hostname, timeline.Network,
			timeline.Volumes, timeline.Boots, timeline.Rescue, timeline.Fatal:
			if e.Name != "" {
				event.Name = e.Stage + " " + e.Name
			}
		default:
			continue
		}
		event.At = cmp.Or(event.At, 1) // 0 would be now.
		list = append(list, event)
	}
	return list
}
