package tests

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"keelson/testvm/agent"
	"keelson/testvm/vm/vmtest"
)

// hasImages waits until as many erofs images are mounted, each with a device-mapper device on
// a loop device on a file of the store, or on the files of clients.
func (s swapper) hasImages(want int, clients ...string) {
	s.Helper()
	until(s.T, func() string { // The kernel removes devices after their last user has ended.
		sources := map[string]bool{} // An ID-mapped root is mounted twice.
		for line := range strings.Lines(s.File("/proc/1/mounts")) {
			if f := strings.Fields(line); f[2] == "erofs" && strings.HasPrefix(f[3], "ro,nodev") {
				sources[f[0]] = true
			}
		}
		names, err := s.Client().ReadDir(vmtest.Context(s.T), "/sys/block")
		if err != nil {
			return err.Error()
		}
		loops, mapped := 0, 0
		for _, name := range names {
			file, _ := s.ReadFile(vmtest.Context(s.T), "/sys/block/"+name+"/loop/backing_file")
			path := strings.TrimSpace(string(file))
			if strings.HasSuffix(path, "/root.erofs") || slices.Contains(clients, filepath.Base(path)) {
				loops++
			} else if path != "" {
				return fmt.Sprintf("%s is on %s", name, path)
			}
			device, _ := s.ReadFile(vmtest.Context(s.T), "/sys/block/"+name+"/dm/name")
			if strings.HasPrefix(string(device), "keelson-redis-") {
				mapped++
			}
		}
		if mounted := len(sources); mounted != want || loops != want || mapped != want {
			return fmt.Sprintf("%d images are mounted, with %d loop devices and %d device-mapper devices; want %d", mounted, loops, mapped, want)
		}
		return ""
	})
}

// damageImage overwrites the image that is mounted, except for its beginning: then its files
// cannot be read.
func (s swapper) damageImage() {
	s.Helper()
	ctx := vmtest.Context(s.T)
	link := "/var/lib/keelson/services/redis/current"
	server := link + "/rootfs/usr/bin/redis-server"
	before, err := s.ReadFile(ctx, server)
	if err != nil || len(before) == 0 {
		s.Fatalf("cannot read %s: %v", server, err)
	}
	pid := s.pid()
	if err := s.Client().Signal(ctx, pid, sigSTOP); err != nil { // It would read damaged blocks and end.
		s.Fatal(err)
	}
	const busybox = "/containers/onboot/000-var/lower/bin/busybox"
	var size int
	if _, err := fmt.Sscan(s.Output(busybox, "stat", "-c", "%s", link+"/root.erofs"), &size); err != nil {
		s.Fatal(err)
	}
	s.Output(busybox, "dd", "if=/dev/zero", "of="+link+"/root.erofs", "bs=64k", "seek=1", fmt.Sprint("count=", size>>16-1), "conv=notrunc")
	s.put("/proc/sys/vm/drop_caches", []byte("3"))
	if _, err := s.ReadFile(ctx, server); err == nil || !strings.Contains(err.Error(), "input/output error") {
		s.Errorf("a file of a damaged image: %v, want an input/output error", err)
	}
	if err := s.Client().Signal(ctx, pid, sigCONT); err != nil {
		s.Fatal(err)
	}
}

// swapInPlace swaps redis for an artifact that is an archive without compression. The version starts from that file,
// and once it is committed, nothing needs the file any more.
func (s swapper) swapInPlace(artifact []byte) {
	s.Helper()
	const path, busybox = "/run/artifact.tar", "/containers/onboot/000-var/lower/bin/busybox"
	s.put(path, artifact)
	s.service("", "swap", "redis", path)
	s.hasImages(1)
	s.Output(busybox, "dd", "if=/dev/zero", "of="+path, "bs=64k", fmt.Sprint("count=", len(artifact)>>16+1), "conv=notrunc")
	s.put("/proc/sys/vm/drop_caches", []byte("3"))
	if data, err := s.ReadFile(vmtest.Context(s.T), "/var/lib/keelson/services/redis/current/rootfs/usr/bin/redis-server"); err != nil || len(data) == 0 {
		s.Errorf("the root of a committed version: %d bytes, %v", len(data), err)
	}
	s.Output(busybox, "rm", path)
	s.service("", "restart", "redis")
}

// damaged returns an artifact whose erofs image has other bytes than its digest says: change gets
// the image, and the place of the superblock of its hash tree.
func damaged(t *testing.T, artifact []byte, change func(image []byte, superblock int)) []byte {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(artifact))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out bytes.Buffer
	w, offset := tar.NewWriter(&out), 0
	for r := tar.NewReader(z); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if m := verityOffset.FindSubmatch(data); m != nil && offset == 0 {
			offset, _ = strconv.Atoi(string(m[1]))
		} else if offset > 0 && len(data) > offset {
			change(data, offset)
		}
		if err := errors.Join(w.WriteHeader(header), second(w.Write(data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var verityOffset = regexp.MustCompile(`"keelson.verity.offset": ?"([0-9]+)"`)

func second(_ int, err error) error { return err }

// pid returns the process of redis.
func (s swapper) pid() int {
	s.Helper()
	all, err := s.Client().Processes(vmtest.Context(s.T))
	if err != nil {
		s.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p agent.Process) bool { return p.Name == "redis-server" })
	if i < 0 {
		s.Fatal("redis does not run")
	}
	return all[i].PID
}

// killInSwap kills the supervisor during a swap to an artifact with a long probation, once so
// many images are mounted.
func (s swapper) killInSwap(artifact, digest string, images int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(vmtest.Context(s.T), vmtest.Patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Exec(ctx, "/usr/bin/service", "swap", "redis", artifact)
		ended <- err
	}()
	s.Line("service redis: swapping .* for " + digest[:len("sha256:")+12])
	s.hasImages(images, filepath.Base(artifact)) // It may still run from the file of the client.
	all, err := s.Client().Processes(ctx)
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range all {
		line, err := s.ReadFile(ctx, fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if err == nil && strings.Contains(string(line), "service\x00supervise") { // It may have ended.
			if err := s.Client().Signal(ctx, p.PID, 9); err != nil {
				s.Fatal(err)
			}
		}
	}
	<-ended
	s.Line("was interrupted; restoring")
}
