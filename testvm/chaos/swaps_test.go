package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// swap swaps a service, or adds one, to a version that works, or to one that fails.
func (r *run) swap(bad bool) string {
	service := r.anyOf(append([]string{added}, services...))
	var list []string
	for _, kind := range kinds[service] {
		if fails(kind) == bad {
			list = append(list, kind)
		}
	}
	return r.order("swap", "-f", service, artifactOf(service, r.anyOf(list)))
}

func artifactOf(service, kind string) string {
	return filepath.Join(artifactDir, service+"-"+kind+".tar.zst")
}

// tour makes each change of services once, without faults. The system has no disk, which each answer says.
func (r *run) tour() (problem string) {
	for _, order := range [][]string{
		{"swap", added, artifactOf(added, good)},
		{"swap", "sidecar", artifactOf("sidecar", beside)},
		{"remove", "sidecar"},
		{"rollback", "sidecar"},
		{"remove", added},
		{"rollback", added},
	} {
		out, err := r.service(order...)
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(out, "is in memory: after a reboot the image's own version runs") {
			return fmt.Sprintf("service %q answers %q", order, out)
		}
		if problem := r.settle(); problem != "" {
			return fmt.Sprintf("after service %q: %s", order, problem)
		}
	}
	return ""
}

func (r *run) remove() string { return r.order("remove", r.anyOf(removable)) }

func (r *run) rollBack() string {
	return r.order("rollback", r.anyOf(append([]string{added}, services...)))
}

// stored is what the store says of a service.
type stored struct {
	current string // "image", "removed", or sha256-HEX
	trial   bool   // a swap has not ended
}

// store returns what the store says of each service that was ever swapped.
func (s system) store() (map[string]stored, error) {
	out, err := s.sh(`cd /var/lib/keelson/services 2>/dev/null || exit 0; for d in *; do
		if [ -d "$d" ]; then echo "$d $(busybox readlink "$d/current" || echo image) $(busybox ls "$d/trial.json" 2>/dev/null)"; fi; done`)
	all := map[string]stored{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 2 {
			all[f[0]] = stored{current: f[1], trial: len(f) > 2}
		}
	}
	return all, err
}

// version returns SERVICE-KIND of the version that is current, or "" for the image's.
func (s stored) version() (string, error) {
	digest, isVersion := strings.CutPrefix(s.current, "sha256-")
	if !isVersion {
		return "", nil
	}
	made, err := artifacts()
	if err == nil && made.kinds["sha256:"+digest] == "" {
		err = fmt.Errorf("the store has the unknown version %s", s.current)
	}
	return made.kinds["sha256:"+digest], err
}

// present returns the targets of faults that the system should have.
func present(store map[string]stored) (names []string) {
	for _, name := range services {
		if store[name].current != "removed" {
			names = append(names, name)
		}
	}
	if strings.HasPrefix(store[added].current, "sha256-") {
		names = append(names, added)
	}
	return names
}

// notAsStored returns how the system differs from what the store says.
func (r *run) notAsStored(store map[string]stored, states map[string]state) string {
	wanted := map[string]bool{} // versions
	if problem := r.otherPrograms(); problem != "" {
		return problem
	}
	for name, s := range store {
		version, err := s.version()
		if s.trial || err != nil {
			return fmt.Sprintf("the store has %+v of %s, %v", s, name, err)
		}
		if version != "" {
			wanted[version] = true
			if env, err := r.environ(states[name].PID); !slices.Contains(env, versionVariable+version) {
				return fmt.Sprintf("the environment of %s is %q, %v, want version %s", name, env, err, version)
			}
		}
	}
	all, err := r.processes()
	if err != nil {
		return err.Error()
	}
	for _, p := range all {
		env, _ := r.environ(p.pid) // It may have ended.
		for _, v := range env {
			if version, found := strings.CutPrefix(v, versionVariable); found && !wanted[version] {
				return fmt.Sprintf("process %+v is of version %s, which is not current", p, version)
			}
		}
	}
	if problem := cmp.Or(r.otherMounts(store), r.socketLost(store)); problem != "" {
		return problem
	}
	return r.differsFrom(store)
}

// keptPort is the port of the socket that is kept for sidecar.
const keptPort = 8081

// socketLost returns a problem unless the socket of sidecar listens as long as there is such a service.
func (r *run) socketLost(store map[string]stored) string {
	text, err := r.readFile("/proc/1/net/tcp")
	if err != nil {
		return err.Error()
	}
	const listens = "0A" // TCP_LISTEN
	found := false
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		found = found || len(f) > 3 && f[3] == listens && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", keptPort))
	}
	if want := store["sidecar"].current != "removed"; found != want {
		return fmt.Sprintf("the kept socket of sidecar exists: %v, want %v", found, want)
	}
	return ""
}

// environ returns the environment of a process.
func (s system) environ(pid int) ([]string, error) {
	env, err := s.readFile(fmt.Sprintf("/proc/%d/environ", pid))
	return strings.Split(string(env), "\x00"), err
}

// bundleMount matches a mount point in the bundle of a service: of the image, or a version.
var bundleMount = regexp.MustCompile(`^(?:/containers/services/([^/]+)/|/var/lib/keelson/services/([^/]+)/([^/]+)/)`)

// otherMounts returns a mount in a bundle that is not current.
func (r *run) otherMounts(store map[string]stored) string {
	mounts, err := r.mounts()
	if err != nil {
		return err.Error()
	}
	for _, mount := range mounts {
		m := bundleMount.FindStringSubmatch(mount.at)
		if m == nil {
			continue
		}
		name, version := m[1]+m[2], m[3]
		if version == "" {
			version = "image"
		}
		if current := store[name].current; current != version && (current != "" || version != "image") {
			return fmt.Sprintf("%s is mounted, but %q is current", mount.at, current)
		}
	}
	return ""
}

// differsFrom compares `service diff` with the store.
func (r *run) differsFrom(store map[string]stored) string {
	out, err := r.service("diff", "--json")
	var list []struct{ Name, Change, Version string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		return fmt.Sprintf("service diff: %v", err)
	}
	changes := map[string]string{}
	for _, c := range list {
		if c.Name == "-programs" {
			if c.Change == "not in use" {
				return fmt.Sprintf("service diff shows %+v", c)
			}
			continue
		}
		changes[c.Name] = c.Change
		if digest := strings.Replace(c.Version, ":", "-", 1); digest != "" && digest != store[c.Name].current {
			return fmt.Sprintf("service diff shows %+v, the store has %+v", c, store[c.Name])
		}
	}
	for name, s := range store {
		want := []string{"swapped"}
		switch {
		case s.current == "image":
			want = []string{"", "reverted"}
		case s.current == "removed":
			want = []string{"removed"}
		case name == added:
			want = []string{"added"}
		}
		if !slices.Contains(want, changes[name]) {
			return fmt.Sprintf("service diff shows %s as %q, the store has %+v", name, changes[name], s)
		}
	}
	return ""
}

// bringBack swaps services that were removed to a version, removes the one that was
// added, and rolls keelson's own programs back, so that the system has the services and programs of
// the beginning.
func (r *run) bringBack() (problem string) {
	if _, err := r.sh("! [ -L /var/lib/keelson/programs/current ] || [ $(busybox readlink /var/lib/keelson/programs/current) = image ]"); err != nil {
		if _, err := r.service("rollback", "-programs", "-probation", "500ms"); err != nil {
			return err.Error()
		}
		if problem := r.settle(); problem != "" { // While programs are on trial, no service is swapped.
			return problem
		}
	}
	store, err := r.store()
	if err != nil {
		return err.Error()
	}
	for name, s := range store {
		switch {
		case s.current == "removed" && name != added:
			_, err = r.service("swap", "-f", name, artifactOf(name, good))
		case s.current != "removed" && s.current != "image" && name == added:
			_, err = r.service("remove", name)
		}
		if err != nil {
			return err.Error()
		}
	}
	return r.settle()
}
