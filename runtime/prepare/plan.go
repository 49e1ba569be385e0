package prepare

import (
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"

	"keelson/runtime/bundle"
)

// mount is one mount with its destination made absolute.
type mount struct {
	bundle.Mount
	below   bool // relative: to be resolved below the root filesystem
	makes   bool // adds a mount point, rather than changing one
	private bool // lies inside the bundle's directory
}

// plan turns the mounts of b into steps. It touches nothing.
func plan(b *bundle.Bundle) []mount {
	steps := make([]mount, 0, len(b.Runtime.Mounts))
	for _, m := range b.Runtime.Mounts {
		step := mount{Mount: m, makes: makesMount(m), below: !filepath.IsAbs(m.Destination)}
		if step.below {
			step.Destination = filepath.Join(b.Rootfs(), filepath.Join("/", m.Destination))
		}
		step.private = inside(b.Dir, step.Destination) || inside(b.Rootfs(), step.Destination)
		steps = append(steps, step)
	}
	return steps
}

// inside tells whether path is dir or below it.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// makesMount is false for a remount or a bare change of propagation.
func makesMount(m bundle.Mount) bool {
	return !m.HasOption("remount") && (m.Type != "" || m.Source != "" || m.IsBind())
}

// overlay is what the options of an overlay name: the topmost lower directory,
// the upper and the work directory. Each may be empty.
type overlay struct{ lower, upper, work string }

func overlayOf(m bundle.Mount) (o overlay) {
	if m.Type != "overlay" {
		return overlay{}
	}
	o.lower, _, _ = strings.Cut(m.Option("lowerdir"), ":")
	o.upper, o.work = m.Option("upperdir"), m.Option("workdir")
	return o
}

// covers tells whether the topmost of the mounts at m's destination is the
// one m would make. Binds are compared by file, not here.
func covers(mounted []*mountinfo.Info, m bundle.Mount) bool {
	if len(mounted) == 0 {
		return false
	}
	top := mounted[len(mounted)-1]
	return top.FSType == m.Type && (m.Source == "" || top.Source == m.Source)
}
