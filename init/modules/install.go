package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"
)

// ErrBlocked is returned for a module whose install command is false, with which
// administrators block modules.
var ErrBlocked = errors.New("blocked by an install command in modprobe.d")

const (
	shell = "/bin/sh"
	// installLimit applies to one install command. The boot, or a system call of another
	// process, waits for it.
	installLimit = 30 * time.Second
)

// runInstall runs the install command of a module. The commands true, false and
// ":" need no program, others need the image to have a shell.
func runInstall(module, command string) error {
	command = strings.TrimSpace(strings.ReplaceAll(command, "$CMDLINE_OPTS", ""))
	switch path.Base(command) {
	case "true", ":":
		return nil
	case "false":
		return ErrBlocked
	}
	if _, err := os.Stat(shell); err != nil {
		return fmt.Errorf("cannot run its install command %q: %w", command, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), installLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "-c", command)
	cmd.Env = append(os.Environ(), "MODPROBE_MODULE="+module, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.WaitDelay = time.Second // A background process of it may keep its output open.
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("its install command %q failed: %w: %s", command, err, bytes.TrimSpace(out[:min(len(out), 1024)]))
	}
	return nil
}
