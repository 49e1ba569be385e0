package scripts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Folders of scripts that run at boot and at shutdown.
const (
	InitDir     = "/etc/init.d"
	ShutdownDir = "/etc/shutdown.d"
)

// Names of init's own steps among the scripts.
const (
	Volumes    = "005-volumes"
	Onboot     = "010-onboot"
	Containerd = "020-containerd" // containerd and the services
	Onshutdown = "010-onshutdown"
)

// issue is LinuxKit's script that prints /etc/issue, which init does itself.
const issue = "000-issue"

// program is LinuxKit's program; the name of the link to it selects what it does.
const program = "service"

// Entry is an entry of a folder of scripts.
type Entry struct {
	Name string
	Mode fs.FileMode // mode of a link's target; 0 if the target is missing
	Link string      // target of a link, "" for other entries
}

// Kind is the kind of an Item.
type Kind int

// Kinds of items.
const (
	Step     Kind = iota // a step of init
	Script               // a program to run
	Unusable             // not executable, or the target of a link is missing
)

// Item is a step or a script of the plan.
type Item struct {
	Name string
	Kind Kind
}

// Plan returns the scripts among entries and the steps in name order. It leaves out
// folders and other entries that cannot be programs, hidden files, and LinuxKit's own
// entries: links to its program, and the names that it gives to init's steps.
func Plan(entries []Entry, steps ...string) []Item {
	var items []Item
	taken := map[string]bool{issue: true}
	for _, name := range steps {
		if !taken[name] {
			items = append(items, Item{Name: name, Kind: Step})
		}
		taken[name] = true
	}
	for _, e := range entries {
		if kind, ok := e.kind(); ok && !taken[e.Name] {
			items = append(items, Item{Name: e.Name, Kind: kind})
			taken[e.Name] = true
		}
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	return items
}

// kind returns the kind of an entry, or false if Plan leaves it out.
func (e Entry) kind() (Kind, bool) {
	switch {
	case e.Name == "" || e.Name[0] == '.' || strings.ContainsRune(e.Name, '/'):
		return 0, false
	case e.Link != "" && filepath.Base(e.Link) == program:
		return 0, false
	case e.Link != "" && e.Mode == 0: // a dangling link
		return Unusable, true
	case !e.Mode.IsRegular():
		return 0, false
	case e.Mode.Perm()&0o111 == 0:
		return Unusable, true
	}
	return Script, true
}

// Boot plans the scripts and steps of the boot. If the folder cannot be listed, the
// plan contains only the steps.
func Boot() ([]Item, error) { return planDir(InitDir, Volumes, Onboot, Containerd) }

// Shutdown plans the scripts and steps of the shutdown.
func Shutdown() ([]Item, error) { return planDir(ShutdownDir, Onshutdown) }

func planDir(dir string, steps ...string) ([]Item, error) {
	entries, err := Read(dir)
	return Plan(entries, steps...), err
}

// HasLate reports whether scripts run after the services have started.
func HasLate() bool {
	items, err := Boot()
	return err == nil && After(items, Containerd)
}

// HasShutdown reports whether scripts run at shutdown.
func HasShutdown() bool {
	items, err := planDir(ShutdownDir)
	return err == nil && len(items) > 0
}

// Read lists a folder. A missing folder is empty.
func Read(dir string) ([]Entry, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list scripts: %w", err)
	}
	var entries []Entry
	for _, found := range list {
		path := filepath.Join(dir, found.Name())
		e := Entry{Name: found.Name()}
		if found.Type()&fs.ModeSymlink != 0 {
			e.Link = target(path)
		}
		if info, err := os.Stat(path); err == nil {
			e.Mode = info.Mode()
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// target resolves a link, as far as that is possible. A link to LinuxKit's program is
// not followed further, because the image may have replaced that program by a link to
// another one.
func target(path string) string {
	to, err := os.Readlink(path)
	if err != nil {
		return "?"
	}
	if filepath.Base(to) == program {
		return to
	}
	if end, err := filepath.EvalSymlinks(path); err == nil {
		return end
	}
	return to
}

// After reports whether items contain one after step.
func After(plan []Item, step string) bool {
	return len(plan) > 0 && plan[len(plan)-1].Name > step
}
