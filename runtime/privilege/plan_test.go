package privilege

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/bundle"
)

func TestPlan(t *testing.T) {
	new := strings.NewReplacer(`["/usr/sbin/web"]`, `["/bin/web","-v"]`, `"PATH=/bin"`, `"PATH=/sbin","TZ=UTC"`, `"limit":1000`, `"limit":2000`,
		`"keelson.ready":"tcp:80",`, ``, `"source":"/etc/web"`, `"source":"/etc"`, `{"type":"network"},`, ``).Replace(service)
	changes, err := Plan(load(t, service, preparations), load(t, new, strings.Replace(preparations, `["web"]`, `[]`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.String())
	}
	want := []string{
		`annotations.keelson.ready: tcp:80 -> none`,
		`linux.namespaces[network]: {"type":"network"} -> none`,
		`linux.resources.memory.limit: 1000 -> 2000`,
		`mounts[/etc/web]: /etc/web:/etc/web:ro,nosuid,rbind -> /etc:/etc/web:ro,nosuid,rbind`,
		`process.args: ["/usr/sbin/web"] -> ["/bin/web","-v"]`,
		`process.env[PATH]: /bin -> /sbin`,
		`process.env[TZ]: none -> UTC`,
		`runtime.cgroups: ["web"] -> []`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("plan:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The mounts that make the root of a service in an image are not in an artifact.
func TestPlanWithoutRootMounts(t *testing.T) {
	const dir = "../bundle/testdata/containers/services/web"
	old, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(dir, bundle.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	r := old.Runtime
	r.Mounts = r.Mounts[1:]
	runtime, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	old.Dir = "/containers/services/web" // as in the image
	new := load(t, string(config), string(runtime))
	changes, err := Plan(old, new)
	if err != nil || len(changes) > 0 {
		t.Errorf("plan %v, %v", changes, err)
	}
	if gains := compare(t, old, new); len(gains) > 0 {
		t.Errorf("gains %q", names(gains))
	}
}

// What a stranger wrote is shown on a terminal, and may be of any size.
func TestHostileText(t *testing.T) {
	old := load(t, service, preparations)
	var sysctls []string
	for i := range 2 * mostGains {
		sysctls = append(sysctls, fmt.Sprintf(`"a%d":"1"`, i))
	}
	for name, annotation := range map[string]string{
		"escape sequence": `"\u001b[2J\n":"\u001b[2J"`, "long value": `"com.example.x":"` + strings.Repeat("x", 100000) + `"`,
		"long name": `"` + strings.Repeat("x", 100000) + `":"x"`,
	} {
		text := strings.Replace(service, `"keelson.ready"`, annotation+`,"keelson.ready"`, 1)
		text = strings.Replace(text, `"maskedPaths"`, `"sysctl":{`+strings.Join(sysctls, ",")+`},"maskedPaths"`, 1)
		new := load(t, text, preparations)
		gains := compare(t, old, new)
		if len(gains) != mostGains {
			t.Errorf("%s: %d gains are recorded, want %d", name, len(gains), mostGains)
		}
		changes, err := Plan(old, new)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, g := range gains {
			lines = append(lines, g.String(), g.Was, g.Is)
		}
		for _, c := range changes {
			lines = append(lines, c.String())
		}
		for _, line := range lines {
			if strings.ContainsAny(line, "\x1b\n") || len(line) > 1000 {
				t.Errorf("%s: the line has control characters or is too long: %.200q", name, line)
			}
		}
	}
}
