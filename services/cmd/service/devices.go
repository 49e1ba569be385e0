package main

import (
	"context"
	"log/slog"
	"os/exec"
	"slices"
	"sync/atomic"
	"time"

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
	var names renewal
	return events.Gather(ctx, firstScan, settle, func(ctx context.Context, come []uevent.Event) {
		hotplug.This.Handle(come, log)
		names.start(ctx, uevent.Changed(come), log)
		if !slices.ContainsFunc(come, func(e uevent.Event) bool { return e.Lost || e.Modalias != "" }) {
			return
		}
		if err := exec.CommandContext(ctx, "/init", "devices").Run(); err != nil && ctx.Err() == nil {
			log.Error("cannot load the drivers of new devices", "error", err)
		}
	})
}

// renewals is how many processes may make links at the same time: one of them remains for
// each device that does not answer.
const renewals = 16

// renewal makes links to devices.
type renewal struct{ running atomic.Int32 }

// start makes the links for devices that have changed, and does not wait for that.
func (r *renewal) start(ctx context.Context, changed []string, log *slog.Logger) {
	if len(changed) == 0 {
		return
	}
	if r.running.Add(1) > renewals {
		r.running.Add(-1)
		log.Error("links in /dev/disk are not renewed: too many devices do not answer", "processes", renewals)
		return
	}
	cmd := exec.CommandContext(ctx, "/init", append([]string{"names"}, changed...)...)
	if err := cmd.Start(); err != nil {
		r.running.Add(-1)
		log.Error("links in /dev/disk are not renewed", "error", err)
		return
	}
	go func() {
		defer r.running.Add(-1)
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			log.Error("links in /dev/disk are not all renewed", "error", err)
		}
	}()
}
