package staging

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/artifact"
	"keelson/runtime/readfile"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

var childDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if childDir != "" {
		os.RemoveAll(childDir)
	}
	os.Exit(code)
}

// childProgram builds the program that the children of these tests are: it is static, as
// the guest's is.
var childProgram = sync.OnceValues(func() (string, error) {
	var err error
	if childDir, err = os.MkdirTemp("", "staging"); err != nil {
		return "", err
	}
	path := filepath.Join(childDir, "child")
	cmd := exec.Command("go", "build", "-o", path, "keelson/runtime/staging/testdata/child")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

func options(t *testing.T) Options {
	t.Helper()
	tier.Root(t)
	program, err := childProgram()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Program: program, Architecture: "amd64"}
}

// Owners, modes and file capabilities are those of the layer, although the child has a
// user namespace of its own.
func TestStage(t *testing.T) {
	o := options(t)
	i := newImage(t)
	ping := file("bin/ping", "program")
	ping.Uid, ping.Gid, ping.Mode = 1000, 4_000_000_000, 0o4750
	// struct vfs_cap_data, version 2: CAP_NET_RAW, effective.
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	ping.PAXRecords = map[string]string{xattr + "security.capability": capability}
	i.add("amd64", i.artifact(i.layer(folder("bin"), ping)))
	data := i.tar()
	var done int64
	o.Progress = func(n int64) { done = n }
	dir := t.TempDir()
	if _, err := Stage(t.Context(), o, dir, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if done != int64(len(data)) {
		t.Errorf("progress %d, want %d", done, len(data))
	}
	path := filepath.Join(dir, "rootfs/bin/ping")
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil || s.Uid != 1000 || s.Gid != 4_000_000_000 || s.Mode != unix.S_IFREG|0o4750 {
		t.Errorf("owner %d:%d, mode %o, %v", s.Uid, s.Gid, s.Mode, err)
	}
	buf := make([]byte, 64)
	if n, err := unix.Getxattr(path, "security.capability", buf); err != nil || string(buf[:n]) != capability {
		t.Errorf("security.capability %q, %v", buf[:max(n, 0)], err)
	}
}

// The child waits for what the kernel can mount, and nothing waits for the answer to a child that was
// not started.
func TestImages(t *testing.T) {
	o := options(t)
	o.DeferRoot = true
	i := newImage(t)
	root := i.verityRoot(rootSize)
	i.add("amd64", i.artifact(root))
	data := i.ordered(root) // The digest of the image is wrong, which is found unless it is deferred.
	for _, mounts := range []bool{true, false} {
		asked, known := make(chan struct{}), make(chan struct{})
		o.Images = func() bool { close(asked); <-known; return mounts }
		go func() {
			<-asked
			time.Sleep(10 * time.Millisecond) // The child is starting, or waits.
			close(known)
		}()
		if meta, err := Stage(t.Context(), o, t.TempDir(), bytes.NewReader(data)); (err == nil) != mounts {
			t.Errorf("%v: %+v, %v", mounts, meta, err)
		}
	}
	o.Images, o.Program = func() bool { return true }, filepath.Join(t.TempDir(), "none")
	if _, err := Stage(t.Context(), o, t.TempDir(), bytes.NewReader(data)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that does not exist: %v", err)
	}
}

// The child reads a file itself, and the artifact is the same. One that becomes shorter meanwhile
// ends in an error.
func TestFile(t *testing.T) {
	o := options(t)
	o.Images, o.DeferRoot = func() bool { return true }, true
	i := newImage(t)
	root := i.verityRoot(rootSize)
	i.add("amd64", i.artifact(root))
	data := i.ordered(root)
	path := filepath.Join(t.TempDir(), "artifact.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"whole": int64(len(data)), "cut": int64(len(data)) - rootSize/2, "empty": 0} {
		input, err := readfile.Reopen(open(t, path))
		if err != nil {
			tier.Skip(t, "needs files that can be opened on a read-only mount: %v", err)
		}
		defer input.Close()
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		meta, err := Stage(t.Context(), o, dir, input)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "whole" {
			checkRefusal(t, err, "cannot read the archive")
			wantEmpty(t, dir)
			continue
		}
		if err != nil || meta.RootDigest != string(root.Digest) {
			t.Fatalf("%+v, %v", meta, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, artifact.RootErofs)); err != nil || string(got) != strings.Repeat("X", rootSize) {
			t.Errorf("the image has %d bytes, or others: %v", len(got), err)
		}
		if at, ok := position(fmt.Sprintf("/proc/self/fdinfo/%d", input.Fd())); !ok || at != int64(len(data)) {
			t.Errorf("position %d, want %d", at, len(data))
		}
	}
}

func TestReaderFails(t *testing.T) {
	o := options(t)
	dir, broken := t.TempDir(), errors.New("connection lost")
	_, err := Stage(t.Context(), o, dir, io.MultiReader(strings.NewReader("text"), iotestErr{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	wantEmpty(t, dir)
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

// An error is returned although the sender neither sends more nor closes.
func TestReaderStays(t *testing.T) {
	o := options(t)
	r, w := io.Pipe()
	defer r.Close()
	go w.Write(bytes.Repeat([]byte("text"), 1000))
	dir := t.TempDir()
	_, err := Stage(t.Context(), o, dir, r)
	checkRefusal(t, err, "cannot read the archive")
	wantEmpty(t, dir)
}

func TestProgramIsMissing(t *testing.T) {
	tier.Root(t)
	_, err := Stage(t.Context(), Options{Program: "/none"}, t.TempDir(), nothing)
	checkRefusal(t, err, "cannot start /none stage-artifact")
}

func TestFullDisk(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		o := options(t)
		dir := t.TempDir()
		if err := mounts.Mount("tmpfs", dir, "tmpfs", []string{"size=32m"}); err != nil {
			t.Fatal(err)
		}
		defer mounts.Unmount(dir, 0)
		i := newImage(t)
		i.add("amd64", i.artifact(i.layer(file("big", strings.Repeat("x", 20<<20)))))
		_, err := Stage(t.Context(), o, dir, bytes.NewReader(i.tar()))
		checkRefusal(t, err, "blobs/sha256 more than 15 MiB") // 32 MiB less the reserve, and a page for the folder
		wantEmpty(t, dir)
		o.MaxSize = 1 << 30
		_, err = Stage(t.Context(), o, dir, bytes.NewReader(i.tar()))
		checkRefusal(t, err, `"big" no space left on device`)
		wantEmpty(t, dir)
	})
}

// Without a user namespace the child is confined all the same.
func TestWithoutUserNamespace(t *testing.T) {
	const marker = "KEELSON_NO_USERS"
	tier.Root(t)
	if os.Getenv(marker) != "" {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
		TestConfinement(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestWithoutUserNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := mapAll(cmd.SysProcAttr); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("without a user namespace")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// BenchmarkStage reads artifacts with the guest's program, whose path KEELSON_STAGE has: one of one
// small file, and one with an erofs image of 100 MiB whose digest is deferred, through this
// process, from a file, from a file compressed with zstd, and with the image left in the file.
func BenchmarkStage(b *testing.B) {
	tier.Root(b)
	o := Options{Program: os.Getenv("KEELSON_STAGE"), Architecture: "amd64", Images: func() bool { return true }, DeferRoot: true}
	if o.Program == "" {
		b.Skip("KEELSON_STAGE names no program")
	}
	small := newImage(b)
	small.add("amd64", small.artifact(small.layer(file("x", "text"))))
	large := newImage(b)
	root := large.verityRoot(100 << 20)
	large.add("amd64", large.artifact(root))
	archive := large.ordered(root)
	content := archive[bytes.Index(archive, []byte("XXXXXXXX")):][:100<<20]
	for block := range slices.Chunk(content, 8192) { // Half of it can be compressed.
		_, _ = rand.Read(block[:4096]) // It never fails.
	}
	path := filepath.Join(b.TempDir(), "artifact.tar")
	compressor, err := zstd.NewWriter(nil)
	if err == nil {
		err = errors.Join(os.WriteFile(path, archive, 0o600), os.WriteFile(path+".zst", compressor.EncodeAll(archive, nil), 0o600))
	}
	if err != nil {
		b.Fatal(err)
	}
	fromFile := func(path string, wrap func(*os.File) io.Reader) func(*testing.B) {
		return func(b *testing.B) {
			benchmarkStage(b, o, func() io.Reader {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { f.Close() })
				return wrap(f)
			})
		}
	}
	data := small.tar()
	b.Run("small", func(b *testing.B) { benchmarkStage(b, o, func() io.Reader { return bytes.NewReader(data) }) })
	b.Run("100MiB/stream", fromFile(path, func(f *os.File) io.Reader { return struct{ io.Reader }{f} }))
	b.Run("100MiB/file", fromFile(path, func(f *os.File) io.Reader { return f }))
	b.Run("100MiB/zstd", fromFile(path+".zst", func(f *os.File) io.Reader { return f }))
	o.InPlace = true
	b.Run("100MiB/in-place", fromFile(path, func(f *os.File) io.Reader { return f }))
}

func benchmarkStage(b *testing.B, o Options, open func() io.Reader) {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Stage(b.Context(), o, b.TempDir(), open()); err != nil {
			b.Fatal(err)
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &after); err != nil {
		b.Fatal(err)
	}
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()*1000/float64(b.N), "CPU-ms/op")
}
