package prepare

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"keelson/runtime/bundle"
)

// mount is one step of the plan: a mount with an absolute destination.
type mount struct {
	bundle.Mount
	below   bool // the destination was relative: it is resolved below the root filesystem
	makes   bool // it makes a mount, and does not only change one
	private bool // it is inside the bundle's directory
	root    bool // it is on the root filesystem
	users   bool // it gives the files of the root filesystem to the container's users
}

// plan returns the steps for the mounts of b. It has no side effects.
func plan(b *bundle.Bundle) []mount {
	steps := make([]mount, 0, len(b.Runtime.Mounts))
	for _, m := range b.Runtime.Mounts {
		step := mount{Mount: m, makes: makesMount(m), below: !filepath.IsAbs(m.Destination)}
		if step.below {
			step.Destination = filepath.Join(b.Rootfs(), filepath.Join("/", m.Destination))
		}
		step.private = inside(b.Dir, step.Destination) || inside(b.Rootfs(), step.Destination)
		step.root = step.makes && step.Destination == b.Rootfs()
		steps = append(steps, step)
	}
	if b.OwnUsers() {
		steps = withUsers(b, steps)
	}
	return steps
}

// withUsers adds the steps that give the files of the root filesystem to the users of b's
// user namespace: an overlay on it gets other options, otherwise something is mounted on it.
func withUsers(b *bundle.Bundle, steps []mount) []mount {
	top := len(steps) - 1
	for top >= 0 && !steps[top].root {
		top--
	}
	if top >= 0 && steps[top].Type == "overlay" {
		steps[top].users = true
		return steps
	}
	more := []mount{
		{Mount: bundle.Mount{Type: "tmpfs", Destination: usersDir(b)}, makes: true, private: true, users: true},
		{Mount: bundle.Mount{Destination: b.Rootfs()}, makes: true, private: true, root: true, users: true},
	}
	return slices.Insert(steps, top+1, more...)
}

// inside reports whether path is dir or below it.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// makesMount reports whether m is neither a remount nor only a change of propagation.
func makesMount(m bundle.Mount) bool {
	return !m.HasOption("remount") && (m.Type != "" || m.Source != "" || m.IsBind())
}

// overlay has the topmost lower directory, the upper and the work directory of an
// overlay. Each may be empty.
type overlay struct{ lower, upper, work string }

func overlayOf(m bundle.Mount) (o overlay) {
	if m.Type != "overlay" {
		return overlay{}
	}
	o.lower, _, _ = strings.Cut(m.Option("lowerdir"), ":")
	o.upper, o.work = m.Option("upperdir"), m.Option("workdir")
	return o
}

// covers reports whether the topmost of the mounts at m's destination is the one that m
// would make. isMounted compares binds by file instead.
func covers(mounted []*mountinfo.Info, m bundle.Mount) bool {
	if len(mounted) == 0 {
		return false
	}
	top := mounted[len(mounted)-1]
	return top.FSType == m.Type && (m.Source == "" || top.Source == m.Source)
}
