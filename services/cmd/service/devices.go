package main

import (
	"context"
	"log/slog"
	"os/exec"
	"slices"
	"time"

	"keelson/runtime/devnames"
	"keelson/runtime/hotplug"
	"keelson/runtime/uevent"
)

const (
	// firstScan is how long after the start drivers are loaded for devices that appeared
	// before the supervisor listened.
	firstScan = 2 * time.Second
	// settle is how long to wait for further devices after one, such as those of a USB
	// hub.
	settle = 100 * time.Millisecond
)

// watchDevices runs "/init devices", which loads the drivers of new devices, and "/init names",
// which makes links to devices that come and go, and brings new CPUs and memory online, until
// ctx ends.
func watchDevices(ctx context.Context, log *slog.Logger) error {
	events, err := uevent.Listen()
	if err != nil {
		return err
	}
	defer events.Close()
	names := devnames.New(devnames.Run, func(err error) { log.Error("links in /dev/disk are not all renewed: trying again", "error", err) })
	return events.Gather(ctx, firstScan, settle, func(ctx context.Context, come []uevent.Event) {
		hotplug.This.Handle(come, log)
		names.Renew(ctx, uevent.Changed(come))
		if !slices.ContainsFunc(come, func(e uevent.Event) bool { return e.Lost || e.Modalias != "" }) {
			return
		}
		if err := exec.CommandContext(ctx, "/init", "devices").Run(); err != nil && ctx.Err() == nil {
			log.Error("cannot load the drivers of new devices", "error", err)
		}
	})
}
