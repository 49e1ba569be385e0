package disk

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Folder is a folder of a mounted file system, with its owner.
type Folder struct {
	Name     string // relative
	UID, GID int
}

// ParseFolder parses NAME:UID:GID.
func ParseFolder(text string) (Folder, error) {
	parts := strings.Split(text, ":")
	if len(parts) == 3 && filepath.IsLocal(parts[0]) {
		uid, errUID := strconv.ParseUint(parts[1], 10, 32)
		gid, errGID := strconv.ParseUint(parts[2], 10, 32)
		if errUID == nil && errGID == nil && uid < math.MaxUint32 && gid < math.MaxUint32 {
			return Folder{parts[0], int(uid), int(gid)}, nil
		}
	}
	return Folder{}, fmt.Errorf("folder %q: want NAME:UID:GID, with a name that is relative to the mount point", text)
}

// Make makes the folder below dir, or gives it its owner. A link in its path does not lead out
// of dir.
func (f Folder) Make(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(f.Name, 0o755); err != nil {
		return err
	}
	return root.Chown(f.Name, f.UID, f.GID)
}
