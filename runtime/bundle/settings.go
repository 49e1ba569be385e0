package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"

	"keelson/runtime/imageconfig"
	"keelson/runtime/signals"
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

// Settings are the values of the annotations keelson.* of a bundle.
type Settings struct {
	Role string // RoleService or RoleRescue

	Restart  string        // RestartOnFailure, RestartAlways or RestartNever
	Delay    time.Duration // before the first restart, doubling
	MaxDelay time.Duration // upper limit of the doubling
	Limit    Limit         // restarts allowed; none when N is 0

	After    []string // services to start after
	Requires []string // services without which this one does not run

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

	Listen []Socket // sockets that the supervisor opens and keeps

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
		Seccomp: SeccompNone, Userns: UsernsHost, SwapProbation: 30 * time.Second,
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
	"after":             func(s *Settings, v string) string { return list(&s.After, v) },
	"requires":          func(s *Settings, v string) string { return list(&s.Requires, v) },
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
	"listen":         func(s *Settings, v string) string { return listen(&s.Listen, v) },
	"userns":         func(s *Settings, v string) string { return oneOf(&s.Userns, v, UsernsHost, UsernsAuto) },
	"capabilities":   func(s *Settings, v string) string { return oneOf(&s.Capabilities, v, CapabilitySets()...) },
	"swap.probation": func(s *Settings, v string) string { return duration(&s.SwapProbation, v) },
	"swap.keep":      func(s *Settings, v string) string { return keep(&s.SwapKeep, v) },
	"timeout":        func(s *Settings, v string) string { return duration(&s.Timeout, v) },
	"retries":        func(s *Settings, v string) string { return count(&s.Retries, v) },
	"log.size":       func(s *Settings, v string) string { return size(&s.LogSize, v) },
}

func oneOf(to *string, value string, allowed ...string) string {
	if !slices.Contains(allowed, value) {
		return "want one of " + strings.Join(allowed, ", ")
	}
	*to = value
	return ""
}

// Durations are 0, which mostly means none, or within these bounds. A shorter duration
// would be a mistake in the unit: a timeout of 10us always expires.
const (
	shortest = time.Millisecond
	longest  = 24 * time.Hour
)

func duration(to *time.Duration, value string) string {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longest || d != 0 && d < shortest {
		return "want 0s or a duration such as 500ms, 10s or 2m, from 1ms to 24h"
	}
	*to = d
	return ""
}

// shortestHealth is the shortest interval and timeout of a health check. Shorter ones
// would keep a processor busy.
const shortestHealth = 100 * time.Millisecond

func atLeast(least time.Duration, to *time.Duration, value string) string {
	var d time.Duration
	if duration(&d, value) != "" || d < least {
		return fmt.Sprintf("want a duration from %v to 24h", least)
	}
	*to = d
	return ""
}

func positive(to *int, value string) string {
	var n int
	if count(&n, value) != "" || n == 0 {
		return "want a whole number from 1 to 1000000"
	}
	*to = n
	return ""
}

func count(to *int, value string) string {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 1_000_000 {
		return "want a whole number from 0 to 1000000"
	}
	*to = n
	return ""
}

func limit(to *Limit, value string) string {
	number, per, ok := strings.Cut(value, "/")
	var l Limit
	if !ok || count(&l.N, number) != "" || duration(&l.Per, per) != "" || l.N == 0 || l.Per == 0 {
		return "want NUMBER/DURATION such as 5/1m"
	}
	*to = l
	return ""
}

// signal sets a signal by name or number.
func signal(to *syscall.Signal, value string) string {
	found, ok := signals.Parse(value)
	if !ok {
		return "want a signal such as SIGTERM, INT, 15 or SIGRTMIN+3"
	}
	*to = found
	return ""
}

// Bounds of a log's size.
const (
	smallestLog = 64 << 10
	largestLog  = 1 << 40
)

func size(to *int64, value string) string {
	n, err := units.RAMInBytes(value)
	if err != nil || n < smallestLog || n > largestLog {
		return "want a size such as 256KiB or 1MiB, from 64KiB to 1TiB"
	}
	*to = n
	return ""
}

func list(to *[]string, value string) string {
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name == "" || strings.ContainsAny(name, "/ \t\n") {
			return "want names of services, separated by commas"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	*to = names
	return ""
}

func keep(to *[]string, value string) string {
	var names []string
	if list(&names, value) != "" || slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(imageconfig.Names(), n) }) {
		return "want some of " + strings.Join(imageconfig.Names(), ", ") + ", separated by commas"
	}
	*to = names
	return ""
}
