package supervisor

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// A service with keelson.seccomp: default cannot make a user namespace, for which no
// capability is needed; nor can the commands of its probes. Without the annotation both can.
func TestDefaultFilter(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		const blocked = "/bin/busybox unshare -U /bin/busybox true"
		services := map[string]struct {
			probe, says string
			annotations map[string]string
		}{
			"filtered": {"! " + blocked, "refused", map[string]string{"keelson.seccomp": "default"}},
			"open":     {blocked, "allowed", map[string]string{}},
		}
		for name, c := range services {
			c.annotations["keelson.ready"] = "exec:/bin/sh -c '" + c.probe + "'"
			s.add(name, blocked+" && echo allowed || echo refused; "+wellBehaved, c.annotations)
			s.edit(name, func(spec *specs.Spec) { spec.Process.Capabilities = &specs.LinuxCapabilities{} })
		}
		s.begin()
		for name, c := range services {
			s.until(name, "running", running)
			s.until(name, "up", func(control.Service) bool { return strings.Contains(logOf(t, name+".out.log"), "up") })
			if text := logOf(t, name+".out.log"); text != c.says+"\nup\n" {
				t.Errorf("%s: %q, want %s", name, text, c.says)
			}
		}
	})
}
