package initrd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/consoles"
	"keelson/init/modules"
	"keelson/init/role"
	"keelson/init/step"
	"keelson/init/switchroot"
	"keelson/mounts"
	"keelson/runtime/cmdline"
	"keelson/runtime/console"
	"keelson/runtime/timeline"
	"keelson/runtime/uevent"
	"keelson/runtime/userspace"
)

const (
	reportTime = 5 * time.Second // until a missing root is logged
	flushLimit = 5 * time.Second
)

// Up is the role: it mounts the root.
func Up(ctx context.Context, env userspace.Environment) error {
	line, err := cmdline.Read(env)
	if err != nil {
		return err
	}
	c := console.New(consoles.Options(line, env))
	err = step.Run(ctx, c, c.Logger(), []step.Step{
		{Stage: timeline.Mounts, Name: "sys", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", mounts.Mount("sysfs", "/sys", "sysfs", []string{"nosuid,nodev,noexec"})
		}},
		{Stage: timeline.Mounts, Name: "root", On: step.Fatal, Do: func(ctx context.Context) (string, error) {
			return mountRoot(ctx, line, c.Logger())
		}},
	})
	flushed, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	_ = c.Close(flushed) // Nothing is left to log it to.
	return err
}

func mountRoot(ctx context.Context, line cmdline.Line, log *slog.Logger) (string, error) {
	w, err := ParseParams(line)
	if err != nil {
		return "", err
	}
	device, err := w.await(ctx, line, log)
	if err != nil {
		return "", err
	}
	fstype, err := w.mount(device)
	if err != nil {
		return "", err
	}
	if err := unix.Access(switchroot.Root+role.Init, unix.X_OK); err != nil {
		return "", fmt.Errorf("cannot use the root, %s on %s: it has no program %s: %w", fstype, device, role.Init, err)
	}
	return fstype + " on " + device, nil
}

// await loads modules until the disk of the root exists, and returns its device node.
func (w Params) await(ctx context.Context, line cmdline.Line, log *slog.Logger) (string, error) {
	if w.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.Wait)
		defer cancel()
	}
	events, err := uevent.Listen()
	if err != nil {
		return "", err
	}
	defer events.Close()
	d, err := newDrivers(line)
	if err != nil {
		return "", err
	}
	report := time.AfterFunc(reportTime, func() { log.Warn("waiting for the root", "root", w.Device, "now", list(disks())) })
	defer report.Stop()
	content := newContents()
	for event := (uevent.Event{Lost: true}); ; {
		if err := d.load(ctx, event); err != nil {
			log.Error("a driver for the root may be missing", "error", err)
		}
		all := disks()
		if w.needed() {
			content.fill(all)
		}
		if device := w.Find(all); device != "" {
			return device, nil
		}
		if event, err = next(ctx, events, content.more); err != nil {
			return "", fmt.Errorf("cannot find the root, root=%s: %s: %w", w.Device, list(disks()), err)
		}
	}
}

// next waits for an event, or until more gets a value. Then an event may be lost.
func next(ctx context.Context, events *uevent.Events, more <-chan struct{}) (uevent.Event, error) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	woken := false
	go func() {
		defer close(ended)
		select {
		case <-more:
			woken = true
			stop()
		case <-waiting.Done():
		}
	}()
	event, err := events.Next(waiting)
	stop()
	<-ended
	if err != nil && woken && ctx.Err() == nil {
		return uevent.Event{Lost: true}, nil
	}
	return event, err
}

// drivers loads modules; a system without modules has a nil loader.
type drivers struct{ loader *modules.Loader }

func newDrivers(line cmdline.Line) (drivers, error) {
	db, err := modules.System(line)
	if errors.Is(err, modules.ErrNone) {
		return drivers{}, nil
	}
	if err != nil {
		return drivers{}, err
	}
	return drivers{modules.NewLoader(db)}, modules.ServeKernel(role.Init)
}

// load loads the modules of a new device or, when events were lost, of all devices.
func (d drivers) load(ctx context.Context, e uevent.Event) error {
	if d.loader == nil || e.Modalias == "" && !e.Lost {
		return nil
	}
	if e.Lost {
		return d.loader.Coldplug(ctx, modules.NewDevices("/sys").Fresh)
	}
	err := d.loader.Load(e.Modalias)
	if errors.Is(err, unix.ENODEV) { // The driver found no hardware.
		return nil
	}
	return err
}

// mount mounts device with the first type of file system that fits, and returns that.
func (w Params) mount(device string) (string, error) {
	var errs []error
	for _, fstype := range w.FSTypes {
		err := mounts.Mount(device, switchroot.Root, fstype, w.Options)
		if err == nil {
			return fstype, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("cannot mount the root, tried %s: %w", strings.Join(w.FSTypes, ", "), errors.Join(errs...))
}
