package bundle

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"keelson/runtime/signals"
)

// Annotations returns all settings as annotations, also those with their default values.
// ParseSettings makes the same settings of them. Those without a value are left out.
func (s Settings) Annotations() map[string]string {
	all := map[string]string{
		"role": s.Role, "restart": s.Restart, "restart.delay": s.Delay.String(), "restart.max-delay": s.MaxDelay.String(),
		"after": strings.Join(s.After, ","), "requires": strings.Join(s.Requires, ","),
		"ready": s.Ready.String(), "ready.timeout": s.ReadyTimeout.String(),
		"health": s.Health.String(), "health.interval": s.HealthInterval.String(), "health.timeout": s.HealthTimeout.String(),
		"health.retries": strconv.Itoa(s.HealthRetries), "stop.signal": signalText(s.StopSignal), "stop.timeout": s.StopTimeout.String(),
		"on-failure": s.OnFailure, "seccomp": s.Seccomp, "delegate": strconv.FormatBool(s.Delegate), "listen": listenText(s.Listen),
		"userns": s.Userns, "pressure": s.Pressure, "capabilities": s.Capabilities, "swap": s.Swap, "swap.probation": s.SwapProbation.String(),
		"swap.keep": strings.Join(s.SwapKeep, ","), "timeout": s.Timeout.String(), "retries": strconv.Itoa(s.Retries),
	}
	if s.Limit.N > 0 {
		all["restart.limit"] = s.Limit.String()
	}
	if s.LogSize > 0 {
		all["log.size"] = strconv.FormatInt(s.LogSize, 10)
	}
	annotations := map[string]string{}
	for name, value := range all {
		if value != "" {
			annotations[SettingsPrefix+name] = value
		}
	}
	return annotations
}

func signalText(s syscall.Signal) string {
	if name := signals.Name(s); !strings.Contains(name, " ") {
		return name
	}
	return strconv.Itoa(int(s))
}

func listenText(sockets []Socket) string {
	var words []string
	for _, s := range sockets {
		word := s.Where()
		if s.Name != "" {
			word = fmt.Sprintf("%s=%s", s.Name, word)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}
