package pid1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"keelson/init/boot"
)

// expeditedRCU is the kernel's switch for grace periods that end at once
// instead of after some ticks (admin-guide/kernel-parameters.rst,
// rcupdate.rcu_expedited; kernel/ksysfs.c).
const expeditedRCU = "/sys/kernel/rcu_expedited"

// expedite switches it. Who makes or takes down namespaces, cgroups and mounts,
// as is done on the way up and down and rarely in between, waits for a grace
// period each time. They cost every processor an interrupt, which a machine at
// work is spared.
func expedite(path string, on bool) error {
	value := "0\n"
	if on {
		value = "1\n"
	}
	err := os.WriteFile(path, []byte(value), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // No such file: a kernel for one processor.
		return fmt.Errorf("cannot switch %s: %w", path, err)
	}
	return nil
}

// expediteUp ends it once the services have been started.
func (p *pid1) expediteUp(ctx context.Context) (string, error) {
	p.serve("rcu", func() {
		_ = boot.WaitForServices(ctx) // When it fails, that is long enough too.
		if ctx.Err() != nil {
			return // The way down begins.
		}
		if err := expedite(expeditedRCU, false); err != nil {
			p.log.Error("the kernel goes on hurrying", "error", err)
		}
	})
	return "", nil
}
