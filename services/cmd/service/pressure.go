package main

import (
	"context"
	"fmt"
	"log/slog"

	"keelson/runtime/readfile"
	"keelson/services/pressure"
)

// commandLineLimit is more than any kernel takes, in bytes.
const commandLineLimit = 64 << 10

// watchPressure restarts services when memory is short, if the kernel command line asks for that.
func watchPressure(ctx context.Context, s pressure.Supervisor, log *slog.Logger) error {
	line, err := readfile.Limited("/proc/cmdline", commandLineLimit)
	if err != nil {
		return fmt.Errorf("cannot read the kernel command line: %w", err)
	}
	return pressure.WatchMachine(ctx, s, string(line), log)
}
