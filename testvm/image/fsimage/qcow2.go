package fsimage

import "context"

// Qcow2 converts a raw disk to QEMU's format.
func Qcow2(ctx context.Context, raw, file string) error {
	return run(ctx, nil, nil, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, file)
}
