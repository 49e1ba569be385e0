package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Place is what a bundle is used as.
type Place string

// The places, as messages name them.
const (
	AsService Place = "services"
	AsOneShot Place = "onboot and onshutdown containers"
)

// placeOf holds the settings that mean something in one place alone. Others, such
// as stop.timeout, do in each.
var placeOf = map[string]Place{
	"on-failure": AsOneShot, "timeout": AsOneShot, "retries": AsOneShot,
	"role": AsService, "restart": AsService, "restart.limit": AsService, "after": AsService, "requires": AsService,
	"ready": AsService, "ready.timeout": AsService,
	"health": AsService, "health.interval": AsService, "health.timeout": AsService, "health.retries": AsService,
	"log.size": AsService,
}

// Misplaced tells of each annotation that does nothing because the bundle is
// used as what it is, in the order of the keys.
func (b *Bundle) Misplaced(as Place) []error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(b.Spec.Annotations)) {
		name, ours := strings.CutPrefix(key, SettingsPrefix)
		if place, ok := placeOf[name]; ours && ok && place != as {
			errs = append(errs, fmt.Errorf("annotation %s: value %q is of no use: this setting is for %s alone", key, b.Spec.Annotations[key], place))
		}
	}
	return errs
}
