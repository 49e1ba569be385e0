package qemu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// probeDeadline bounds the probe of KVM, which takes half a second natively.
const probeDeadline = 10 * time.Second

// Accelerator returns the accelerator for kernel: TESTVM_ACCEL of the environment (tcg or
// kvm), else KVM if that works. On nested and paravirtual hosts /dev/kvm may open and
// still not run a stock kernel, so the kernel itself is booted without an initrd until it
// panics because it has no root. Without a kernel the answer is TCG. It is cached in the
// user's cache folder for this host, QEMU and kernel.
func Accelerator(ctx context.Context, arch, kernel string) (string, error) {
	switch env := os.Getenv("TESTVM_ACCEL"); env {
	case KVM, TCG:
		return env, nil
	case "":
	default:
		return "", fmt.Errorf("cannot use TESTVM_ACCEL=%q: neither kvm nor tcg", env)
	}
	if arch != runtime.GOARCH || kernel == "" || !openable("/dev/kvm") {
		return TCG, nil
	}
	probing.Lock()
	defer probing.Unlock()
	memo, err := memoFile(arch, kernel)
	if err != nil {
		return "", err
	}
	if known, err := os.ReadFile(memo); err == nil {
		answer, _, _ := strings.Cut(string(known), "\n")
		if answer == KVM || answer == TCG {
			return answer, nil
		}
	}
	answer, why := KVM, "the kernel came up"
	if err := probe(ctx, arch, kernel); err != nil {
		answer, why = TCG, err.Error()
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return answer, remember(memo, answer+"\n"+why+"\n")
}

// probing is held during a probe. Machines that start meanwhile use its answer.
var probing sync.Mutex

func openable(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// memoFile returns the name of the file with the answer for this host and kernel.
func memoFile(arch, kernel string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cannot find the cache folder: %w", err)
	}
	h := sha256.New()
	f, err := os.Open(kernel)
	if err != nil {
		return "", fmt.Errorf("cannot read the kernel: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read the kernel: %w", err)
	}
	var uts syscall.Utsname
	if err := syscall.Uname(&uts); err != nil {
		return "", fmt.Errorf("cannot name this host's kernel: %w", err)
	}
	fmt.Fprint(h, uts.Release, uts.Version)
	program, _ := Program(arch)
	if path, err := exec.LookPath(program); err == nil {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprint(h, info.Size(), info.ModTime().UnixNano())
		}
	}
	return filepath.Join(cache, "keelson", fmt.Sprintf("accel-%x", h.Sum(nil)[:8])), nil
}

func remember(memo, text string) error {
	if err := os.MkdirAll(filepath.Dir(memo), 0o755); err != nil {
		return fmt.Errorf("cannot remember the accelerator: %w", err)
	}
	tmp := fmt.Sprintf("%s.%d", memo, os.Getpid())
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("cannot remember the accelerator: %w", err)
	}
	return os.Rename(tmp, memo)
}

// probe boots kernel under KVM until it looks for its root.
func probe(ctx context.Context, arch, kernel string) error {
	ctx, cancel := context.WithTimeout(ctx, probeDeadline)
	defer cancel()
	c, err := Config{Arch: arch, Accel: KVM, Kernel: kernel, Memory: 256, CPUs: 1,
		Append: "panic=-1 console=" + ConsoleDevice(arch)}.withDefaults()
	if err != nil {
		return err
	}
	m, err := launch(ctx, c)
	if err != nil {
		return err
	}
	defer m.Kill()
	seen := make(chan error, 1)
	go func() { seen <- waitFor(m.Console, []byte("Kernel panic - not syncing: VFS")) }()
	select {
	case err := <-seen:
		return err
	case <-ctx.Done():
		return fmt.Errorf("a kernel did not come up under KVM within %s", probeDeadline)
	}
}

// waitFor reads r until want appears.
func waitFor(r io.Reader, want []byte) error {
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		text = append(text, buf[:n]...)
		if bytes.Contains(text, want) {
			return nil
		}
		if err != nil {
			return errors.New("a kernel did not come up under KVM: QEMU ended")
		}
	}
}
