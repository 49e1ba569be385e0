package main

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"keelson/runtime/boots"
	"keelson/runtime/kmsg"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
	"keelson/services/events"
)

// endLimit is how long the end of a boot may take to be recorded.
const endLimit = 5 * time.Second

// powerOrders remembers who has ordered the end of the boot.
type powerOrders struct {
	*events.Journal
	last atomic.Pointer[events.Event]
}

// Append implements supervisor.Journal.
func (p *powerOrders) Append(e events.Event) {
	if e.Kind == events.Power {
		p.last.Store(&e)
	}
	p.Journal.Append(e)
}

// end returns how the boot ends. What PID 1 does is in the timeline: the order may have come by a
// signal.
func (p *powerOrders) end() boots.End {
	e := boots.End{How: boots.Down, Time: time.Now().UTC()}
	if order := p.last.Load(); order != nil {
		e.How, e.By = order.To, order.By
	}
	all, _ := timeline.Read(timeline.Path) // Without it, the order counts.
	for _, event := range all {
		if event.Stage == timeline.Shutdown && event.Name == "" {
			how := endings[event.Result]
			if how != "" && how != e.How {
				e.By = "" // Something else was ordered, by a signal to PID 1.
			}
			e.How = cmp.Or(how, e.How)
		}
	}
	return e
}

// endings are the words of PID 1 for what it does.
var endings = map[string]string{"power off": boots.PowerOff, "reboot": boots.Reboot, "halt": boots.Halt}

// keepBoot keeps the logs of the boot on a machine whose /var is on a disk. When ctx ends, the
// services are about to stop; end records that they have stopped. Nothing waits for a disk that
// hangs.
func keepBoot(ctx context.Context, env userspace.Environment, orders *powerOrders, log *slog.Logger) (end func()) {
	id, err := boots.This()
	if err != nil || !env.Machine {
		return func() {}
	}
	k := boots.Keep(boots.Dir, kmsg.Path, id, []string{"/run/log/onboot", "/run/log/onshutdown"}, log)
	stop := context.AfterFunc(ctx, func() { k.Ask(orders.end) })
	return func() {
		stop()
		limit, cancel := context.WithTimeout(context.Background(), endLimit)
		defer cancel()
		k.End(limit, orders.end)
	}
}
