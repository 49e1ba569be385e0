package prepare

import (
	"fmt"
	"os"

	"keelson/runtime/bundle"
)

// Layer returns the files that b has in the image, for the option lowerdir of an overlay: without what its
// container has written, and without what runtime.json mounts in it. Nothing is mounted for it, so a root
// that has to be is refused.
func Layer(b *bundle.Bundle) (string, error) {
	if b.Image != nil {
		return "", fmt.Errorf("the root of %s is an image of a file system, of which nothing else can be made a part", b.Name)
	}
	layer, path := escapeLayer(b.Rootfs()), b.Rootfs()
	for _, m := range plan(b) {
		if !m.root || m.users && m.Type == "" { // The latter only changes owners.
			continue
		}
		switch o := overlayOf(m.Mount); {
		case o.lower != "":
			layer, path = m.Option("lowerdir"), o.lower
		case m.IsBind(): // A read-only root is bound on itself.
			layer, path = escapeLayer(m.Source), m.Source
		default:
			return "", fmt.Errorf("the root of %s is a mount of type %q: %s", b.Name, m.Type, m.Source)
		}
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("cannot use the files of %s: %w", b.Name, err)
	}
	return layer, nil
}
