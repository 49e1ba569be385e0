// Package idrange assigns a range of user and group IDs of the machine to each container
// with keelson.userns: auto.
//
// The ranges lie between 524288 and 1879048191, which systemd reserves for containers
// (UIDS-GIDS.md of systemd). A service gets the range that a hash of its name selects, or
// the next free one, and keeps it: ranges are stored in a file, so that files which the
// service has written to a disk still belong to it after services were added or removed. A
// range of a service that does not exist any more is not given to another. Without the file,
// services get the same ranges in each boot of the same image, since they are assigned in the
// order of their names.
//
// One-shot containers run one at a time, so a range can serve several: theirs follow from
// the name alone, and are not those of services.
package idrange

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"keelson/runtime/bundle"
	"keelson/runtime/durable"
	"keelson/runtime/readfile"
)

// Path is the file in which ranges are stored.
const Path = "/var/lib/keelson/userns.json"

const (
	first    = 524288
	last     = 1879048191
	all      = (last + 1 - first) / bundle.UserRange
	oneShots = 1024 // the last ones
	services = all - oneShots

	sizeLimit = 1 << 20 // of the file, in bytes
)

// Table has the ranges of services. It is not safe for concurrent use.
type Table struct {
	path  string
	known map[string]uint32 // name to first ID
	taken map[uint32]bool
}

// Open reads the table in a file, which need not exist. With an error, the table is empty
// and can be used.
func Open(path string) (*Table, error) {
	t := &Table{path: path, known: map[string]uint32{}, taken: map[uint32]bool{}}
	known := map[string]uint32{}
	if _, err := readfile.JSON(path, sizeLimit, &known); err != nil {
		return t, fmt.Errorf("the user IDs of services are not known: %w", err)
	}
	for name, id := range known {
		if !valid(id) || t.taken[id] {
			return &Table{path: path, known: map[string]uint32{}, taken: map[uint32]bool{}},
				fmt.Errorf("cannot use %s: %d of service %s is not the first ID of a range of its own", path, id, name)
		}
		t.known[name], t.taken[id] = id, true
	}
	return t, nil
}

// valid reports whether id is the first of a range of services.
func valid(id uint32) bool {
	return id >= first && id < first+services*bundle.UserRange && (id-first)%bundle.UserRange == 0
}

// Assign returns the first ID of a service. A new range is stored before it is returned;
// with an error it is valid, but may be another one after a restart.
func (t *Table) Assign(name string) (uint32, error) {
	if id, ok := t.known[name]; ok {
		return id, nil
	}
	if len(t.known) >= services {
		return 0, errors.New("cannot assign user IDs: all ranges are in use")
	}
	slot := hash(name) % services
	for t.taken[idOf(slot)] {
		slot = (slot + 1) % services
	}
	id := idOf(slot)
	t.known[name], t.taken[id] = id, true
	if err := t.store(); err != nil {
		return id, fmt.Errorf("cannot store which user IDs service %s has: %w", name, err)
	}
	return id, nil
}

func (t *Table) store() error {
	text, err := json.MarshalIndent(t.known, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(t.path, append(text, '\n'), 0o644)
}

// OneShot returns the first ID of a one-shot container.
func OneShot(name string) uint32 { return idOf(services + hash(name)%oneShots) }

func idOf(slot uint32) uint32 { return first + slot*bundle.UserRange }

func hash(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}
