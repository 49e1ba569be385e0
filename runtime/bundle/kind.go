package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is the use of a bundle, as messages name it.
type Kind string

// The kinds.
const (
	KindService Kind = "services"
	KindOneShot Kind = "onboot and onshutdown containers"
)

// kindOf has the settings that apply to one kind only. Others, such as stop.timeout,
// apply to both.
var kindOf = map[string]Kind{
	"on-failure": KindOneShot, "timeout": KindOneShot, "retries": KindOneShot,
	"role": KindService, "restart": KindService, "restart.limit": KindService, "after": KindService, "requires": KindService,
	"ready": KindService, "ready.timeout": KindService,
	"health": KindService, "health.interval": KindService, "health.timeout": KindService, "health.retries": KindService,
	"delegate": KindService, "listen": KindService, "pressure": KindService, "swap": KindService, "swap.keep": KindService, "swap.probation": KindService, "log.size": KindService,
}

// Inapplicable returns an error for each annotation that has no effect on a bundle of
// that kind, in the order of the keys.
func (b *Bundle) Inapplicable(kind Kind) []error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(b.Spec.Annotations)) {
		name, isSetting := strings.CutPrefix(key, SettingsPrefix)
		if only, ok := kindOf[name]; isSetting && ok && only != kind {
			errs = append(errs, fmt.Errorf("annotation %s: value %q has no effect: this setting is only for %s", key, b.Spec.Annotations[key], only))
		}
	}
	return errs
}
