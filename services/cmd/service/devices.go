package main

import (
	"context"
	"log/slog"
	"os/exec"
	"time"

	"keelson/runtime/hotplug"
	"keelson/runtime/uevent"
)

const (
	// catchUp is when drivers are loaded for devices that came while the boot ended
	// or a supervisor was started again.
	catchUp = 2 * time.Second
	// settle is for the devices behind one that has come, such as a USB hub.
	settle = 100 * time.Millisecond
)

// watchDevices has /init load the drivers of devices that come up, and puts CPUs
// and memory to use that are added, until ctx ends.
func watchDevices(ctx context.Context, log *slog.Logger) error {
	events, err := uevent.Listen()
	if err != nil {
		return err
	}
	defer events.Close()
	return events.Gather(ctx, catchUp, settle, func(ctx context.Context, come []uevent.Event) {
		hotplug.This.Handle(come, log)
		if err := exec.CommandContext(ctx, "/init", "devices").Run(); err != nil && ctx.Err() == nil {
			log.Error("new devices may not work", "error", err)
		}
	})
}
