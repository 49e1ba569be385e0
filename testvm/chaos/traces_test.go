package chaos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// traces returns what services may leave in the system: mounts, files, cgroups, and records
// in containerd's database. Mounts in the bundle of a service are named alike for all
// versions. The versions themselves and the outcome of a trial of keelson's own programs are left out,
// and the second file of the journal of events, which exists once there were many.
func (r *run) traces() (found []string, err error) {
	mounts, err := r.mounts()
	if err != nil {
		return nil, err
	}
	images := map[string]bool{}
	for _, m := range mounts {
		if m.fstype == "erofs" && bundleMount.MatchString(m.at) && !images[m.at] {
			images[m.at] = true // One is below the overlay of a version; the image's bundle has none.
			continue
		}
		found = append(found, "mount "+bundleMount.ReplaceAllString(m.at, "BUNDLE/$1$2/"))
	}
	files, err := r.sh(`busybox find /run /tmp /var/lib -path /var/lib/keelson -prune -o -path /run/keelson/programs -prune -o -path /run/keelson/events.old -o -print; busybox find /sys/fs/cgroup -type d`)
	if err != nil {
		return nil, err
	}
	found = append(found, slices.DeleteFunc(strings.Fields(files), func(path string) bool {
		return filepath.Base(path) == "keelson.programs" // A trial makes a container in this namespace, the folder of which stays.
	})...)
	database, err := r.readFile("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
	if err != nil {
		return nil, err
	}
	keys, err := boltKeys(database)
	found = append(found, keys...)
	slices.Sort(found)
	return found, err
}

// mounted is a mount of the system.
type mounted struct{ at, fstype string }

// mounts returns the mounts of the system.
func (s system) mounts() (all []mounted, err error) {
	text, err := s.readFile("/proc/1/mountinfo")
	for line := range strings.Lines(string(text)) { // proc_pid_mountinfo(5)
		before, after, _ := strings.Cut(line, " - ")
		if f, kind := strings.Fields(before), strings.Fields(after); len(f) > 4 && len(kind) > 0 {
			all = append(all, mounted{f[4], kind[0]})
		}
	}
	return all, err
}

// boltKeys returns the containers, leases, content and snapshots in containerd's database.
// The buckets are v1, a namespace, a kind of object, and its name (containerd's
// core/metadata/buckets.go).
func boltKeys(database []byte) (keys []string, err error) {
	dir, err := os.MkdirTemp("", "keelson-chaos-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "meta.db")
	if err := os.WriteFile(file, database, 0o600); err != nil {
		return nil, err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("cannot read containerd's database: %w", err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		v1 := tx.Bucket([]byte("v1"))
		if v1 == nil {
			return nil
		}
		return v1.ForEachBucket(func(namespace []byte) error {
			for _, kind := range []string{"containers", "leases", "content", "snapshots"} {
				if b := v1.Bucket(namespace).Bucket([]byte(kind)); b != nil {
					_ = b.ForEachBucket(func(name []byte) error {
						keys = append(keys, fmt.Sprintf("containerd's %s %s/%s", kind, namespace, name))
						return nil
					})
				}
			}
			return nil
		})
	})
	return keys, err
}

// diff compares sorted traces.
func diff(before, after []string) string {
	var all []string
	for len(before) > 0 || len(after) > 0 {
		order := 0
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = cmp.Compare(before[0], after[0])
		}
		if order < 0 {
			all = append(all, "missing: "+before[0])
		}
		if order > 0 {
			all = append(all, "left over: "+after[0])
		}
		if order <= 0 {
			before = before[1:]
		}
		if order >= 0 {
			after = after[1:]
		}
	}
	return strings.Join(all, "\n")
}
