package oneshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/paths"
)

// filterLimit bounds the time in which a program makes a filter, which takes some
// milliseconds.
const filterLimit = time.Minute

// filter returns the filter of system calls that an annotation asks for, or nil. Another
// program makes it: its profile would make /init larger by 100 KB (runtime/seccomp).
func (r *run) filter(ctx context.Context) (*specs.LinuxSeccomp, error) {
	if !r.bundle.WantsFilter() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, filterLimit)
	defer cancel()
	service := cmp.Or(r.options.Service, paths.Service)
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, service, "seccomp-filter", r.bundle.Dir)
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot make the filter of keelson.seccomp: %s: %w: %s", service, err, bytes.TrimSpace(complaint.Bytes()))
	}
	var filter *specs.LinuxSeccomp
	if err = json.Unmarshal(text, &filter); err == nil && filter == nil {
		err = errors.New("it printed none")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the filter of keelson.seccomp that %s made: %w", service, err)
	}
	return filter, nil
}
