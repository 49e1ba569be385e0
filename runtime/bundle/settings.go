package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"keelson/runtime/imageconfig"
)

// SettingsPrefix marks the annotations that are keelson's own.
const SettingsPrefix = "keelson."

// SwapKeepKey is the annotation with the fields that a container image does not replace. The
// builder writes it.
const SwapKeepKey = SettingsPrefix + "swap.keep"

// Values of Settings.Restart.
const (
	RestartOnFailure = "on-failure"
	RestartAlways    = "always"
	RestartNever     = "never"
)

// Values of Settings.OnFailure.
const (
	Continue = "continue"
	Rescue   = "rescue"
	Reboot   = "reboot"
	PowerOff = "poweroff"
	Halt     = "halt"
)

// Values of Settings.Role.
const (
	RoleService = "service"
	RoleRescue  = "rescue" // a rescue shell, not a service
)

// Values of Settings.Seccomp.
const (
	SeccompNone    = "none"
	SeccompDefault = "default" // the filter that container engines use by default
)

// Values of Settings.Pressure.
const (
	PressureRestart = "restart" // it may be restarted when memory is short
	PressureNever   = "never"
)

// Values of Settings.Swap.
const (
	SwapReplace = "replace" // the old version is stopped before the new one starts
	SwapOverlap = "overlap" // the new version starts beside the old one
)

// Settings are the values of the annotations keelson.* of a bundle.
type Settings struct {
	Role string // RoleService or RoleRescue

	Restart  string        // RestartOnFailure, RestartAlways or RestartNever
	Delay    time.Duration // before the first restart, doubling
	MaxDelay time.Duration // upper limit of the doubling
	Limit    Limit         // restarts allowed; none when N is 0

	After    []string // services and conditions (package condition) to start after
	Requires []string // those without which this one does not run

	Ready        Probe
	ReadyTimeout time.Duration // 0: no limit

	Health         Probe
	HealthInterval time.Duration
	HealthTimeout  time.Duration
	HealthRetries  int

	StopSignal  syscall.Signal
	StopTimeout time.Duration // then SIGKILL

	OnFailure string        // one-shot: Continue, Rescue, …; empty: not said
	Timeout   time.Duration // one-shot: of each attempt, 0 is none
	Retries   int           // one-shot: after a pause of Delay, doubling to MaxDelay

	Seccomp      string // SeccompNone or SeccompDefault, for a bundle without a filter of its own
	Userns       string // UsernsHost or UsernsAuto
	Capabilities string // of CapabilitySets, in place of process.capabilities; empty: not said

	Delegate bool // the service has cgroups of its own, which it may divide

	Listen []Socket // sockets that the supervisor opens and keeps

	Pressure string // PressureRestart or PressureNever

	Swap          string        // SwapReplace or SwapOverlap
	SwapProbation time.Duration // how long a version that was swapped in must stay ready
	SwapKeep      []string      // names of fields (package imageconfig) that a container image does not replace

	LogSize int64 // bytes, for each of stdout and stderr; 0: by the size of the disk
}

// Limit allows N restarts within Per.
type Limit struct {
	N   int
	Per time.Duration
}

// String returns the limit as it is written in an annotation.
func (l Limit) String() string { return fmt.Sprintf("%d/%v", l.N, l.Per) }

// Defaults are the settings of a bundle that has no annotations.
func Defaults() Settings {
	return Settings{
		Role: RoleService, Restart: RestartOnFailure, Delay: 100 * time.Millisecond, MaxDelay: 30 * time.Second,
		HealthInterval: 10 * time.Second, HealthTimeout: 5 * time.Second, HealthRetries: 3,
		StopSignal: syscall.SIGTERM, StopTimeout: 10 * time.Second,
		Seccomp: SeccompNone, Userns: UsernsHost, Pressure: PressureRestart, Swap: SwapReplace, SwapProbation: 30 * time.Second,
	}
}

// ParseSettings reads the annotations keelson.* and the image's stop signal, and
// ignores others. Each bad value gives an error that names key and value, and leaves
// the default. Errors are in the order of the keys.
func ParseSettings(annotations map[string]string) (Settings, []error) {
	return Defaults().With(annotations)
}

// With is ParseSettings with s as the defaults.
func (s Settings) With(annotations map[string]string) (Settings, []error) {
	errs := s.setStopSignal(annotations)
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, isSetting := strings.CutPrefix(key, SettingsPrefix)
		if !isSetting {
			continue
		}
		value := strings.TrimSpace(annotations[key])
		set, known := setters[name]
		why := "no such setting"
		if known {
			why = set(&s, value)
		}
		if why != "" {
			errs = append(errs, &SettingError{key, value, why})
		}
	}
	return s, errs
}

// setStopSignal sets the image's stop signal, which is the default of
// keelson.stop.signal. A bad one is an error only if it is used.
func (s *Settings) setStopSignal(annotations map[string]string) []error {
	value, ok := annotations[imageconfig.StopSignalKey]
	if !ok {
		return nil
	}
	value = strings.TrimSpace(value)
	why := signal(&s.StopSignal, value)
	var own syscall.Signal
	if why == "" || signal(&own, strings.TrimSpace(annotations[SettingsPrefix+"stop.signal"])) == "" {
		return nil
	}
	return []error{&SettingError{imageconfig.StopSignalKey, value, why}}
}

// SettingError is an annotation whose key or value cannot be used.
type SettingError struct {
	Key, Value string
	Reason     string // such as "no such setting"
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("annotation %s: bad value %q: %s", e.Key, e.Value, e.Reason)
}

// setters has a function for each setting, which stores a value and returns "", or
// returns why the value is bad.
var setters = map[string]func(*Settings, string) string{
	"role": func(s *Settings, v string) string { return oneOf(&s.Role, v, RoleService, RoleRescue) },
	"restart": func(s *Settings, v string) string {
		return oneOf(&s.Restart, v, RestartOnFailure, RestartAlways, RestartNever)
	},
	"restart.delay":     func(s *Settings, v string) string { return duration(&s.Delay, v) },
	"restart.max-delay": func(s *Settings, v string) string { return duration(&s.MaxDelay, v) },
	"restart.limit":     func(s *Settings, v string) string { return limit(&s.Limit, v) },
	"after":             func(s *Settings, v string) string { return dependencies(&s.After, v) },
	"requires":          func(s *Settings, v string) string { return dependencies(&s.Requires, v) },
	"ready":             func(s *Settings, v string) string { return probe(&s.Ready, v) },
	"ready.timeout":     func(s *Settings, v string) string { return duration(&s.ReadyTimeout, v) },
	"health":            func(s *Settings, v string) string { return probe(&s.Health, v) },
	"health.interval":   func(s *Settings, v string) string { return atLeast(shortestHealth, &s.HealthInterval, v) },
	"health.timeout":    func(s *Settings, v string) string { return atLeast(shortestHealth, &s.HealthTimeout, v) },
	"health.retries":    func(s *Settings, v string) string { return positive(&s.HealthRetries, v) },
	"stop.signal":       func(s *Settings, v string) string { return signal(&s.StopSignal, v) },
	"stop.timeout":      func(s *Settings, v string) string { return duration(&s.StopTimeout, v) },
	"on-failure": func(s *Settings, v string) string {
		return oneOf(&s.OnFailure, v, Continue, Rescue, Reboot, PowerOff, Halt)
	},
	"seccomp":        func(s *Settings, v string) string { return oneOf(&s.Seccomp, v, SeccompNone, SeccompDefault) },
	"delegate":       func(s *Settings, v string) string { return boolean(&s.Delegate, v) },
	"listen":         func(s *Settings, v string) string { return listen(&s.Listen, v) },
	"userns":         func(s *Settings, v string) string { return oneOf(&s.Userns, v, UsernsHost, UsernsAuto) },
	"capabilities":   func(s *Settings, v string) string { return oneOf(&s.Capabilities, v, CapabilitySets()...) },
	"pressure":       func(s *Settings, v string) string { return oneOf(&s.Pressure, v, PressureRestart, PressureNever) },
	"swap":           func(s *Settings, v string) string { return oneOf(&s.Swap, v, SwapReplace, SwapOverlap) },
	"swap.probation": func(s *Settings, v string) string { return duration(&s.SwapProbation, v) },
	"swap.keep":      func(s *Settings, v string) string { return keep(&s.SwapKeep, v) },
	"timeout":        func(s *Settings, v string) string { return duration(&s.Timeout, v) },
	"retries":        func(s *Settings, v string) string { return count(&s.Retries, v) },
	"log.size":       func(s *Settings, v string) string { return size(&s.LogSize, v) },
}
