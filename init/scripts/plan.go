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

// Folders of scripts, for the way up and the way down.
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

// program is LinuxKit's, which does what the name of the link to it says.
const program = "service"

// Entry is an entry of a folder of scripts.
type Entry struct {
	Name string
	Mode fs.FileMode // of the target of a link; 0 when that is missing
	Link string      // target of a link, "" for other entries
}

// Kind is the kind of an Item.
type Kind int

// Kinds of items.
const (
	Step     Kind = iota // a step of init
	Script               // to be run
	Unusable             // meant to be run, but not executable, or missing
)

// Item is a step or a script of the plan.
type Item struct {
	Name string
	Kind Kind
}

// Plan puts the scripts among entries and the steps in name order. Left out
// are folders and other things that cannot be programs, hidden files, and what
// stands for init's own steps: links to LinuxKit's program, and anything that
// bears the name LinuxKit gave it.
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

// kind tells what an entry is; false for what is to be left out.
func (e Entry) kind() (Kind, bool) {
	switch {
	case e.Name == "" || e.Name[0] == '.' || strings.ContainsRune(e.Name, '/'):
		return 0, false
	case e.Link != "" && filepath.Base(e.Link) == program:
		return 0, false
	case e.Link != "" && e.Mode == 0: // leads nowhere
		return Unusable, true
	case !e.Mode.IsRegular():
		return 0, false
	case e.Mode.Perm()&0o111 == 0:
		return Unusable, true
	}
	return Script, true
}

// Boot plans the scripts and steps of the way up. A folder that cannot be listed has
// no scripts.
func Boot() ([]Item, error) { return planDir(InitDir, Volumes, Onboot, Containerd) }

// Shutdown plans the scripts and steps of the way down.
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

// HasShutdown reports whether scripts run on the way down.
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

// target is what a link leads to in the end, or as far as it leads. The last
// link of a chain to a program that another name was given is not followed.
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
