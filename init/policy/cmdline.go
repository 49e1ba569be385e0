package policy

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"keelson/runtime/boots"
	"keelson/runtime/bundle"
	"keelson/runtime/cmdline"
	"keelson/runtime/corecgroup"
	"keelson/runtime/psi"
	"keelson/runtime/watchdog"
)

// Names of parameters of the kernel command line.
const (
	onbootParam   = "keelson.onboot"
	rescueParam   = "keelson.rescue"
	loglevelParam = "keelson.loglevel" // package boot uses it
	powerOffParam = "keelson.poweroff" // PID 1 uses it at shutdown
	programsParam = "keelson.programs" // package programs uses it
	filesParam    = "keelson.nofile"   // PID 1 uses it, and reports bad values
)

// waitWord is a value of keelson.rescue= that means the same as off.
const waitWord = "wait"

// CommandLine is the policy that the kernel command line sets.
type CommandLine struct {
	Base   bundle.Settings // defaults, which annotations override
	First  bool            // rescue before the first onboot container
	Always bool            // rescue when any onboot container fails, in spite of annotations
	// Instead is the action in place of rescue; it is Rescue if rescue is allowed.
	Instead Action
	instead string // the parameter that set Instead
}

// Silent is a command line without parameters of keelson.
func Silent() CommandLine { return CommandLine{Base: bundle.Defaults(), Instead: Rescue} }

// ParseCommandLine reads
//
//	keelson.onboot=[POLICY][,timeout=DURATION][,retries=N]
//	keelson.rescue[=on|failure|off|wait|continue|reboot|poweroff|halt]
//
// where the last of several wins. A bad value leaves the default and is an error that
// names it.
func ParseCommandLine(line cmdline.Line) (CommandLine, []error) {
	c := Silent()
	var errs []error
	for _, value := range line.Values(onbootParam) {
		for part := range strings.SplitSeq(value, ",") {
			if err := c.onboot(part); err != nil {
				errs = append(errs, fmt.Errorf("command line: %s=%s: %w", onbootParam, value, err))
			}
		}
	}
	for _, value := range line.Values(rescueParam) {
		if !c.rescue(value) {
			errs = append(errs, fmt.Errorf("command line: %s=%s: bad value %q: want %s, or one of on, failure, off, wait, continue, reboot, poweroff, halt",
				rescueParam, value, value, rescueParam))
		}
	}
	return c, append(errs, checkOthers(line)...)
}

// checkOthers reports bad values of keelson's other parameters, and parameters
// keelson.* that do not exist.
func checkOthers(line cmdline.Line) (errs []error) {
	for _, p := range line {
		name := strings.ReplaceAll(p.Name, "-", "_")
		switch {
		case name == loglevelParam:
			if new(slog.Level).UnmarshalText([]byte(p.Value)) != nil {
				errs = append(errs, fmt.Errorf("command line: %s=%s: bad value %q: want debug, info, warn or error", loglevelParam, p.Value, p.Value))
			}
		case name == powerOffParam:
			if p.Value != "off" && p.Value != "reset" {
				errs = append(errs, fmt.Errorf("command line: %s=%s: bad value %q: want off or reset", powerOffParam, p.Value, p.Value))
			}
		case name == boots.Parameter:
			if _, err := boots.ParseBounds(p.Value); err != nil {
				errs = append(errs, fmt.Errorf("command line: %s=%s: %w", boots.Parameter, p.Value, err))
			}
		case name == watchdog.Parameter:
			if _, err := watchdog.ParseTimeout(p.Value); err != nil {
				errs = append(errs, fmt.Errorf("command line: %s=%s: %w", watchdog.Parameter, p.Value, err))
			}
		case name == corecgroup.Parameter:
			if _, err := corecgroup.ParseReserve(p.Value, 0); err != nil {
				errs = append(errs, fmt.Errorf("command line: %s=%s: %w", corecgroup.Parameter, p.Value, err))
			}
		case name == psi.Parameter:
			if _, err := psi.ParseThreshold(p.Value); err != nil {
				errs = append(errs, fmt.Errorf("command line: %s=%s: %w", psi.Parameter, p.Value, err))
			}
		case name == programsParam:
			if p.Value != "image" {
				errs = append(errs, fmt.Errorf("command line: %s=%s: bad value %q: want image", programsParam, p.Value, p.Value))
			}
		case strings.HasPrefix(name, bundle.SettingsPrefix) && name != onbootParam && name != rescueParam && name != filesParam:
			errs = append(errs, fmt.Errorf("command line: %s: no such parameter", p.Name))
		}
	}
	return errs
}

// onboot sets one part of keelson.onboot=, which means the same as the annotation.
func (c *CommandLine) onboot(part string) error {
	key, value, named := strings.Cut(part, "=")
	if !named {
		key, value = "on-failure", part
	}
	if named && !slices.Contains([]string{"timeout", "retries"}, key) {
		return fmt.Errorf("bad value %q: want a policy, timeout=DURATION or retries=NUMBER", part)
	}
	var errs []error
	c.Base, errs = c.Base.With(map[string]string{bundle.SettingsPrefix + key: value})
	err := errors.Join(errs...)
	if bad, ok := errors.AsType[*bundle.SettingError](err); ok {
		return fmt.Errorf("%s: bad value %q: %s", key, bad.Value, bad.Reason)
	}
	return err
}

// rescue sets a value of keelson.rescue. It returns false if the value is bad.
func (c *CommandLine) rescue(value string) bool {
	switch value {
	case "", "1", "y", "yes", "on", "true":
		c.First, c.Instead = true, Rescue
		return true
	case "failure":
		c.Always, c.Instead = true, Rescue
		return true
	}
	a, known := actions[value]
	if slices.Contains([]string{"0", "n", "no", "off", "false"}, value) {
		a, known = Wait, true
	}
	if !known || a == Rescue {
		return false
	}
	c.First, c.Always, c.Instead, c.instead = false, false, a, rescueParam+"="+value
	return true
}

// Rules returns the rules and settings of the onboot container b. b is nil for a
// container that cannot be read: it gets no further attempt.
func (c CommandLine) Rules(b *bundle.Bundle) (Rules, bundle.Settings) {
	s, own := c.Base, ""
	if b != nil {
		s, _ = c.Base.With(b.Spec.Annotations) // b.Warnings holds the errors.
		own = b.Settings.OnFailure
	} else {
		s.Retries = 0
	}
	r := Rules{OnFailure: s.OnFailure, Instead: c.Instead, Note: c.instead, Retries: s.Retries, Delay: s.Delay, MaxDelay: s.MaxDelay}
	switch {
	case c.Always:
		r.OnFailure, r.Source = bundle.Rescue, rescueParam+"=failure"
	case own != "":
		r.Source = bundle.SettingsPrefix + "on-failure=" + own
	case s.OnFailure != "":
		r.Source = onbootParam + "=" + s.OnFailure
	default:
		r.OnFailure, r.Source = bundle.Continue, "by default"
	}
	return r, s
}

// ForShutdown returns the rules of an onshutdown container: whatever fails, the
// shutdown continues. An annotation that says otherwise is an error.
func ForShutdown(b *bundle.Bundle) (Rules, error) {
	r, _ := Silent().Rules(b)
	if r.OnFailure == bundle.Continue {
		return r, nil
	}
	err := fmt.Errorf("%s has no effect at shutdown: want %s", r.Source, bundle.Continue)
	r.OnFailure, r.Source = bundle.Continue, "at shutdown"
	return r, err
}
