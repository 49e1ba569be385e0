package fsimage

import "context"

// Qcow2 writes a raw disk as one of QEMU's own format.
func Qcow2(ctx context.Context, raw, file string) error {
	return run(ctx, nil, nil, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, file)
}
