package execute

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// Process is a program to run in a container. What is empty is as the container's own has it.
type Process struct {
	Args     []string
	Terminal bool
	Dir      string
	Env      []string // NAME=VALUE, in addition; a value replaces that of the container
	User     *User
}

// User is the user of a process, in the container.
type User struct {
	UID            int   `json:"uid"`
	GID            int   `json:"gid"`
	AdditionalGids []int `json:"additionalGids,omitempty"`
}

// spec returns the process of a container's specification with the changes of p. Fields that
// this program does not know are kept.
func (p Process) spec(container json.RawMessage) (json.RawMessage, error) {
	var found struct {
		Process map[string]json.RawMessage `json:"process"`
	}
	if err := json.Unmarshal(container, &found); err != nil {
		return nil, fmt.Errorf("cannot read the specification of the container: %w", err)
	}
	if found.Process == nil {
		return nil, errors.New("the specification of the container has no process")
	}
	set := map[string]any{"args": p.Args, "terminal": p.Terminal}
	if p.Dir != "" {
		set["cwd"] = p.Dir
	}
	if p.User != nil {
		set["user"] = p.User
	}
	if len(p.Env) > 0 {
		var env []string
		if text, ok := found.Process["env"]; ok {
			if err := json.Unmarshal(text, &env); err != nil {
				return nil, fmt.Errorf("cannot read the environment of the container: %w", err)
			}
		}
		set["env"] = changed(env, p.Env)
	}
	for key, value := range set {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("cannot write %s of the process: %w", key, err)
		}
		found.Process[key] = text
	}
	return json.Marshal(found.Process)
}

// changed returns an environment with other values.
func changed(env, set []string) []string {
	for _, one := range set {
		name, _, _ := strings.Cut(one, "=")
		env = append(slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") }), one)
	}
	return env
}

// ParseUser parses UID or UID:GID.
func ParseUser(s string) (*User, error) {
	uid, gid, both := strings.Cut(s, ":")
	if !both {
		gid = "0"
	}
	u, uidErr := strconv.ParseUint(uid, 10, 32)
	g, gidErr := strconv.ParseUint(gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("user %q: want numbers, UID or UID:GID: %w", s, err)
	}
	return &User{UID: int(u), GID: int(g)}, nil
}

// accountLimit is how much of a file of accounts is read, in bytes.
const accountLimit = 1 << 20

// FindUser returns the user NAME, UID, NAME:GROUP, UID:GID, … of a container, by the files in its
// root, which the container may have changed. Nothing outside of that root is read.
func FindUser(root, spec string) (*User, error) {
	passwd, group := account(root, "passwd"), account(root, "group")
	found, err := user.GetExecUser(spec, nil, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", spec, err)
	}
	return &User{UID: found.Uid, GID: found.Gid, AdditionalGids: found.Sgids}, nil
}

// account returns the content of a file in /etc of a container; nothing if it is no regular file.
func account(root, name string) string {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return ""
	}
	defer dir.Close()
	f, err := dir.OpenFile(filepath.Join("etc", name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, _ := io.ReadAll(io.LimitReader(f, accountLimit)) // What could be read has the user, or it is not found.
	return string(text)
}
