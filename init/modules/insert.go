package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
)

const (
	// unpacker contains the decompressors, which would make /init larger (runtime/unpack).
	unpacker = paths.Service
	// unpackLimit applies to one module; the largest take a second.
	unpackLimit = time.Minute
)

// insert inserts a module, or runs its install command.
func insert(s Load) error {
	if s.Install != "" {
		return runInstall(s.Name, s.Install)
	}
	f, err := os.Open(s.File)
	if err != nil {
		return err
	}
	defer f.Close()
	params := strings.Join(s.Params, " ")
	if strings.HasSuffix(s.File, ".ko") {
		return unix.FinitModule(int(f.Fd()), params, 0)
	}
	err = unix.FinitModule(int(f.Fd()), params, unix.MODULE_INIT_COMPRESSED_FILE)
	// The kernel cannot decompress this format, or any. EINVAL has other causes too; then
	// the second attempt fails in the same way.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return insertUnpacked(f, params)
	}
	return err
}

// insertUnpacked inserts a module that another program decompresses into memory.
func insertUnpacked(packed *os.File, params string) error {
	fd, err := unix.MemfdCreate("module", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot create a memfd for it: %w", err)
	}
	unpacked := os.NewFile(uintptr(fd), "module")
	defer unpacked.Close()
	if _, err := packed.Seek(0, 0); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), unpackLimit)
	defer cancel()
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, unpacker, "unpack-module")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = packed, unpacked, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("neither the kernel nor %s can decompress it: %w: %s", unpacker, err, bytes.TrimSpace(complaint.Bytes()))
	}
	// The kernel loads no file that is open for writing (ETXTBSY).
	readOnly, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	defer readOnly.Close()
	if err := unpacked.Close(); err != nil {
		return err
	}
	return unix.FinitModule(int(readOnly.Fd()), params, 0)
}
