package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"keelson/mounts"
	"keelson/runtime/paths"
	"keelson/runtime/programs"
)

const (
	answerTime = 20 * time.Second // how long a program may take to say its version
	// How long the digests of a version may take: some 40 MB, which an emulated processor
	// without other work reads in 8 s. PID 1 and the supervisor wait for an order, so that it
	// has less time than the boot.
	verifyTime       = 20 * time.Second
	verifyTimeAtBoot = 2 * time.Minute
)

// question makes a program print its version and exit with 0.
var question = map[string]string{
	programs.Service: "version", programs.Containerd: "--version", programs.Ctr: "--version", programs.Runc: "--version",
	programs.ShimStart: "-v", programs.Shim: "-v",
}

// check starts each program of a version once, in a mount namespace in which the version is
// in use. It prints a line for each.
func (r role) check(ctx context.Context, target string) error {
	if target == programs.Image {
		return nil
	}
	if err := programs.CheckTarget(target); err != nil {
		return err
	}
	dir := filepath.Join(r.store, target)
	names, err := r.verify(dir, target)
	if err != nil {
		return err
	}
	before, _ := ask(ctx, paths.Containerd, question[programs.Containerd]) // The image may have none.
	return mounts.WithPrograms(filepath.Join(dir, programs.RootDir), func() error {
		for _, name := range names {
			answer, err := ask(ctx, "/"+name, question[name])
			if err != nil {
				return fmt.Errorf("%s %s of the new version failed: %w", name, question[name], err)
			}
			if name == programs.Containerd {
				if err := adopts(answer, before); err != nil {
					return err
				}
			}
			fmt.Fprintf(r.out, "%s: %s\n", name, answer)
		}
		return nil
	})
}

// version finds the major version in what containerd prints: containerd MODULE VERSION …
var version = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^containerd \S+ v?(\d+)\.`) })

// adopts returns an error if a containerd, by what it prints for its version, would not adopt
// the running tasks of another one: containerd 1 does not know how to reach the shims of
// containerd 2, takes them for dead, and kills their containers.
func adopts(answer, before string) error {
	now, old := version().FindStringSubmatch(answer), version().FindStringSubmatch(before)
	if now == nil || old == nil || now[1] == old[1] {
		return nil
	}
	return fmt.Errorf("containerd %s does not adopt the running services of containerd %s", now[1], old[1])
}

// verify verifies the version in the folder dir, and returns its files. The program that does
// it is the one in use.
func (r role) verify(dir, target string) (names []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.verifyTime)
	defer cancel()
	var out, errs limited
	cmd := exec.CommandContext(ctx, paths.Service, "verify-programs", dir, programs.DigestOf(target))
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cannot verify version %s: %w: %s", target, err, strings.TrimSpace(errs.buf.String()))
	}
	for _, name := range strings.Fields(out.buf.String()) {
		if err := programs.CheckName(name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// ask starts a program on this thread, and returns the first line that it prints.
func ask(ctx context.Context, program, argument string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var out, errs limited
	cmd := exec.CommandContext(ctx, program, argument)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "/"
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %v", answerTime)
		}
		if text := strings.TrimSpace(errs.buf.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return "", err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(out.buf.String()), "\n")
	if first == "" {
		return "", errors.New("it prints nothing")
	}
	return first, nil
}

// limited is a buffer that drops what exceeds its limit.
type limited struct{ buf bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	const most = 4 << 10
	l.buf.Write(p[:min(len(p), most-l.buf.Len())])
	return len(p), nil
}
