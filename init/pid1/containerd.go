package pid1

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/containerd"
	"keelson/init/pid1/keeper"
	"keelson/runtime/paths"
)

// startContainerd starts containerd. If the image has settings for it, the supervisor's
// program reads them and then executes containerd.
func (p *pid1) startContainerd() (keeper.Process, error) {
	d := &daemon{Log: &keeper.Log{Path: paths.ContainerdLog}}
	output, args := func() (*os.File, error) {
		out, err := d.Open()
		if err != nil {
			return p.env.Console()
		}
		return out, nil
	}, []string{paths.Containerd}
	if containerd.HasSettings() {
		output, args = p.env.Console, []string{paths.Service, "containerd"}
		d.Mark()
	}
	var err error
	if d.Child, err = p.spawn(nameContainerd, output, args...); err != nil {
		return nil, err // Not d: an interface with a nil daemon is not nil.
	}
	return d, nil
}

// keepContainerd starts containerd if there are services for it.
func (p *pid1) keepContainerd() error {
	wanted, err := containerd.Wanted()
	if wanted && p.keepers.Get(nameContainerd) == nil {
		p.keepers.Add(p.newKeeper(nameContainerd))
	}
	return err
}

// containerdEarly starts containerd in parallel to the boot role, unless its settings
// may name folders that do not exist yet.
func (p *pid1) containerdEarly() error {
	p.note(func(s *state) { s.ContainerdFiles = containerd.Stat() })
	if containerd.Configured() {
		return nil
	}
	return p.keepContainerd()
}

// containerdAfterBoot starts containerd if it has waited for the boot role, and restarts
// it if its files have changed.
func (p *pid1) containerdAfterBoot(ctx context.Context) error {
	now, kept := containerd.Stat(), p.keepers.Get(nameContainerd)
	changed := now != p.summary().ContainerdFiles
	switch {
	case ctx.Err() != nil, kept != nil && !changed:
		return nil
	case kept == nil && !changed && !containerd.Configured():
		return nil // containerdEarly has tried.
	}
	p.note(func(s *state) { s.ContainerdFiles = now })
	if kept != nil {
		p.log.Info("containerd is started again: the boot has mounted a disk on its folders or log, created its settings, or replaced its program")
		kept.Stop(unix.SIGTERM, containerdGrace)
		p.keepers.Add(p.newKeeper(nameContainerd))
		return nil
	}
	return p.keepContainerd()
}
