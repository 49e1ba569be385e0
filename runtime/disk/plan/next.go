package plan

import (
	"fmt"
	"slices"
	"strings"
)

// AbsentError is returned if there is no device that could be used: one may appear.
type AbsentError struct{ text string }

func (e *AbsentError) Error() string { return e.text }

// Next returns the next thing to do, given what has been done in this run: some of it cannot be
// seen. Op is None if all is as wanted. uuid is that of a file system that is begun.
func Next(w Want, s State, did []Action, uuid string) (Action, error) {
	if a, err := force(w, s, did); a.Op != None || err != nil {
		return a, err
	}
	d, err := find(w, s)
	if err != nil {
		return Action{}, err
	}
	if d != nil {
		if mark, on := s.mark(d); mark != nil {
			return resume(w, s, on, did)
		}
		return use(w, s, d, did, uuid)
	}
	for i := range s.Devices {
		if on := &s.Devices[i]; on.Mark != nil && w.begun(on) && slices.Contains(w.candidates(s), on) {
			return resume(w, s, on, did)
		}
	}
	if a := repair(w, s, did); a.Op != None {
		return a, nil
	}
	return begin(w, s, uuid)
}

// force returns the action that empties a device.
func force(w Want, s State, did []Action) (Action, error) {
	d := s.device(s.Paths[w.Device])
	if !w.Force || d == nil || done(did, Wipe, d.Name) {
		return Action{}, nil
	}
	if used := s.used(d); used != "" {
		return Action{}, fmt.Errorf("%s %s: not formatted", d.Name, used)
	}
	return Action{Op: Wipe, Device: d.Name}, nil
}

// find returns the device that is meant, or nil. Those that are being formatted are found only
// by their path.
func find(w Want, s State) (*Device, error) {
	if w.Device != "" {
		return named(w, s)
	}
	var found []*Device
	for i := range s.Devices {
		d := &s.Devices[i]
		if mark, _ := s.mark(d); mark != nil || !w.fits(d) || !free(w, s, d) || w.Label == "" && w.UUID == "" && elsewhere(w, d) ||
			w.Label != "" && d.Content.Label != w.Label || w.UUID != "" && !strings.EqualFold(d.Content.UUID, w.UUID) {
			continue
		}
		found = append(found, d)
	}
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) == 1 || w.Label == "" && w.UUID == "":
		return found[0], nil
	}
	return nil, fmt.Errorf("several devices are possible, none is chosen: %s: %s", strings.Replace(w.what(), " has ", " with ", 1), names(found))
}

// free reports whether nothing else is made of a device.
func free(w Want, s State, d *Device) bool {
	m := s.mapped(w.Crypt)
	return len(d.Holders) == 0 || m != nil && len(d.Holders) == 1 && d.Holders[0] == m.Name
}

// elsewhere reports whether a device is mounted, and not where it is wanted.
func elsewhere(w Want, d *Device) bool {
	return len(d.Mounts) > 0 && !slices.Contains(d.Mounts, w.Mount)
}

// named returns the device of a path: the partition of a disk that has one.
func named(w Want, s State) (*Device, error) {
	d := s.device(s.Paths[w.Device])
	if d == nil {
		return nil, &AbsentError{fmt.Sprintf("%s does not exist; there are: %s", w.Device, all(s))}
	}
	if d.Mark != nil {
		return d, nil
	}
	parts := s.partitions(d.Name)
	switch {
	case len(parts) == 1:
		d = parts[0]
	case len(parts) > 1:
		return nil, fmt.Errorf("%s has several partitions, none is chosen: %s", w.Device, names(parts))
	}
	if w.fits(d) {
		return d, nil
	}
	if slices.Contains(w.candidates(s), d) && s.contents(d) == "" {
		return nil, nil
	}
	if d.Table != nil {
		return nil, nil // It may be repaired.
	}
	return nil, w.unfit(s, d)
}

// unfit is the error for a device that contains something else.
func (w Want) unfit(s State, d *Device) error {
	contents := s.contents(d)
	if contents == "" {
		contents = "is empty, and is not one to be formatted"
	}
	return fmt.Errorf("%s %s: left alone", d.Name, contents)
}

// candidates returns the devices that may be formatted.
func (w Want) candidates(s State) []*Device {
	var all []*Device
	for _, path := range w.Format {
		if path != Any {
			if d := s.device(s.Paths[path]); d != nil {
				all = append(all, d)
			}
			continue
		}
		for i := range s.Devices {
			if d := &s.Devices[i]; d.Disk == "" && d.Mapped == "" && !d.Removable {
				all = append(all, d)
			}
		}
	}
	return all
}

// begun reports whether the mark of a device is that of what is wanted.
func (w Want) begun(d *Device) bool {
	return d.Mark.Label == w.Label && d.Mark.Type == w.outer() && d.Mark.Table == w.tableOf(d)
}

// tableOf returns the kind of partition table that a device gets. Partitions get none.
func (w Want) tableOf(d *Device) string {
	if d.Disk != "" || d.Mapped != "" {
		return ""
	}
	return w.Table
}

// begin returns the first step of formatting.
func begin(w Want, s State, uuid string) (Action, error) {
	candidates := w.candidates(s)
	if len(candidates) == 0 {
		text := fmt.Sprintf("no %s; looked at: %s", w.what(), all(s))
		if len(w.Format) > 0 && !slices.Contains(w.Format, Any) {
			text += "; there is no " + strings.Join(w.Format, ", ")
		}
		return Action{}, &AbsentError{text}
	}
	var reasons []string
	for _, d := range candidates {
		reason := s.contents(d)
		switch {
		case reason != "":
		case d.ReadOnly:
			reason = "is read-only"
		case s.used(d) != "":
			reason = s.used(d)
		case d.Size < MinSize:
			reason = "is too small"
		}
		if reason == "" {
			return Action{Op: SetMark, Device: d.Name, Mark: Mark{Table: w.tableOf(d), Type: w.outer(), Label: w.Label, UUID: uuid}}, nil
		}
		reasons = append(reasons, "/dev/"+d.Name+" "+reason)
	}
	return Action{}, fmt.Errorf("no %s, and %s: left alone", w.what(), strings.Join(reasons, ", "))
}

// resume continues the formatting of a device with a mark.
func resume(w Want, s State, on *Device, did []Action) (Action, error) {
	m := *on.Mark
	switch {
	case !w.begun(on) || !slices.Contains(w.candidates(s), on):
		return Action{}, fmt.Errorf("%s was being formatted (%s, label %q), which this does not continue", on.Name, m.Type, m.Label)
	case s.used(on) != "":
		return Action{}, fmt.Errorf("%s was being formatted, and %s", on.Name, s.used(on))
	}
	target := on
	if m.Table != "" {
		parts := s.partitions(on.Name)
		switch {
		case len(parts) > 0 && foreign(parts[0], m):
			target = parts[0]
		case !done(did, Partition, on.Name): // One that is there may be incomplete.
			return Action{Op: Partition, Device: on.Name, Mark: m}, nil
		case len(parts) != 1 || parts[0].Start != 1<<20:
			return Action{}, fmt.Errorf("the kernel does not find the partition on %s", on.Name)
		default:
			target = parts[0]
		}
	}
	if foreign(target, m) {
		return Action{}, fmt.Errorf("%s was being formatted, and %s since: left alone", on.Name, s.contents(target))
	}
	if !done(did, MakeFS, target.Name) {
		size := target.Size
		if m.Table == "" {
			size = (size - Reserve) &^ 4095
		}
		return Action{Op: MakeFS, Device: target.Name, Type: m.Type, Size: size, Mark: m}, nil
	}
	return Action{Op: ClearMark, Device: on.Name, Mark: m}, nil
}

// foreign reports whether a device has content that is not that of the mark.
func foreign(d *Device, m Mark) bool {
	return d.Problem != "" || d.Content.Type != "" && !sameUUID(d.Content, m.UUID)
}

// repair returns the action for a table of which the kernel does not know the partitions,
// because its first copy was half written when the power was cut.
func repair(w Want, s State, did []Action) Action {
	for _, d := range s.Devices {
		if d.Table != nil && d.Table.Kind == GPT && d.Mark == nil && len(s.partitions(d.Name)) == 0 && !d.ReadOnly &&
			(w.Label != "" && slices.Contains(d.Table.Names, w.Label) || w.Device != "" && s.Paths[w.Device] == d.Name) &&
			!done(did, RepairTable, d.Name) {
			return Action{Op: RepairTable, Device: d.Name}
		}
	}
	return Action{}
}

func names(devices []*Device) string {
	var all []string
	for _, d := range devices {
		all = append(all, d.Name)
	}
	return strings.Join(all, " ")
}

// all returns the names of all devices.
func all(s State) string {
	var all []string
	for _, d := range s.Devices {
		all = append(all, d.Name)
	}
	if len(all) == 0 {
		return "no disks"
	}
	return strings.Join(all, " ")
}
