package pid1

import (
	"context"

	"keelson/init/covered"
)

// lookAtCovered notes in which folders the mounts to come cover files of the
// image. It reads names only, and comes before these mounts. On a machine an
// initramfs may have mounted some already; what an outer system has mounted is
// that system's, and nothing is copied there.
func (p *pid1) lookAtCovered(context.Context) (string, error) {
	dirs := covered.Look(covered.Folders(), p.place.machine)
	p.note(func(s *state) { s.Covered = dirs })
	return "", nil
}

// restoreCovered has a role copy these files onto the mounts, which takes at most
// filesLimit. An image without such files has no role.
func (p *pid1) restoreCovered(ctx context.Context) (string, error) {
	dirs := p.summary().Covered
	if len(dirs) == 0 {
		return "", nil
	}
	limited, cancel := context.WithTimeout(ctx, filesLimit)
	defer cancel()
	_, err := p.runRole(limited, roleFiles, roleGrace, dirs...)
	if ctx.Err() != nil { // The system goes down.
		return "", nil
	}
	return "", err
}
