// Package changes tells the programs of netcfg that something may have changed: the kernel's links,
// addresses, routes and rules, or files of a folder.
package changes

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"keelson/netcfg/kernel"
	"keelson/runtime/watch"
)

// Watch calls poke, from goroutines of its own, after each change of the kernel's network and of files
// in folder, unless that is empty. The caller calls stop, which returns when poke will not be called any
// more.
func Watch(folder string, poke func()) (stop func(), err error) {
	network, err := kernel.Watch()
	if err != nil {
		return nil, err
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for network.Wait() {
			poke()
		}
	})
	end := func() {
		_ = network.Close()
		watching.Wait()
	}
	if folder == "" {
		return end, nil
	}
	files, err := watch.New()
	if err == nil {
		if err = files.Add(folder, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
			_ = files.Close()
		}
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("cannot watch %s: %w", folder, err)
	}
	watching.Go(func() {
		for buffer := make([]byte, 4096); ; {
			if _, err := files.Read(buffer); err != nil {
				return
			}
			poke()
		}
	})
	return func() {
		_ = files.Close()
		end()
	}, nil
}
