package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/staging"
	"keelson/services/candidate"
	"keelson/services/control"
	"keelson/services/versions"
	"keelson/testvm/nstest"
)

// A file with a state of a swap makes the supervisor block before it enters that. It
// renames the file then.
const (
	blockFile   = "/run/keelson-block"
	blockedFile = "/run/keelson-blocked"
)

// blockingHandler handles the log of a supervisor that blocks. It shows no debug messages.
type blockingHandler struct{ slog.Handler }

func (blockingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h blockingHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "swap changes" {
		r.Attrs(func(a slog.Attr) bool {
			want, err := os.ReadFile(blockFile)
			if a.Key == "to" && err == nil && a.Value.String() == string(want) && os.Rename(blockFile, blockedFile) == nil {
				select {}
			}
			return true
		})
	}
	if r.Level < slog.LevelInfo {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func templatesOf(services string) string { return filepath.Join(filepath.Dir(services), "templates") }
func policyOf(services string) string    { return filepath.Join(filepath.Dir(services), "swap.yml") }

// scriptOf is the script of a version, by which its processes are recognised.
func scriptOf(version string) string {
	return "version=" + version + ".; case $version in exits*) exit 3;; ends*) exit 0;; esac; trap 'exit 0' TERM; while :; do sleep 0.05; done"
}

// probation is that of versions that work.
const probation = "200ms"

// stagerEnv is the path of the guest's program that reads artifacts.
const stagerEnv = "KEELSON_TEST_STAGER"

// stageTemplate makes a bundle of a template below dir. An artifact is "SERVICE VERSION"; a
// longer one is a real one.
func stageTemplate(dir string) candidate.Stage {
	return func(ctx context.Context, staged string, r io.Reader, o candidate.Staging) (meta artifact.Meta, err error) {
		text, err := io.ReadAll(r)
		if err != nil {
			return meta, err
		}
		if len(text) > 1000 {
			return staging.Stage(ctx, staging.Options{Program: os.Getenv(stagerEnv)}, staged, bytes.NewReader(text))
		}
		service, version, _ := strings.Cut(string(text), " ")
		template := filepath.Join(dir, service)
		config, err := os.ReadFile(filepath.Join(template, "config.json"))
		if err != nil {
			return meta, err
		}
		meta = artifact.Meta{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(text)), Architecture: "amd64", Writable: true}
		known, err := json.Marshal(meta)
		if err != nil {
			return meta, err
		}
		text = []byte(strings.ReplaceAll(string(config), "VERSION", version))
		if !strings.HasPrefix(version, "good") { // A busy machine reports its end late.
			text = []byte(strings.Replace(string(text), probation, "1m", 1))
		}
		switch {
		case !o.DeferRoot:
		case strings.HasPrefix(version, "good-damaged"):
			meta.RootDigest = "sha256:" + strings.Repeat("0", 64)
		default:
			meta.RootDigest = fmt.Sprintf("sha256:%x", sha256.Sum256(text))
		}
		return meta, errors.Join(
			os.CopyFS(filepath.Join(staged, "rootfs"), os.DirFS(filepath.Join(template, "rootfs"))),
			os.WriteFile(filepath.Join(staged, artifact.File), known, 0o600),
			os.WriteFile(filepath.Join(staged, "config.json"), text, 0o600))
	}
}

// endless is the path, below the folder of templates, of a file that takes longer to read than
// a test.
const endless = "endless"

// digestOfTemplate takes the configuration of a version for its root, which a kernel without
// dm-verity could not mount. The root of versions called good-large is endless.
func digestOfTemplate(dir string) candidate.Digest {
	return func(ctx context.Context, empty, path string) (string, error) {
		root := filepath.Join(filepath.Dir(path), "config.json")
		config, err := os.ReadFile(root)
		if err != nil {
			return "", err
		}
		if strings.Contains(string(config), "good-large") {
			root = filepath.Join(dir, endless)
		}
		return staging.Digest(ctx, staging.Options{Program: os.Getenv(stagerEnv)}, empty, root)
	}
}

// swapping are the versions of a system whose services are swapped.
type swapping struct {
	*system
	count int               // of artifacts
	image map[string]bool   // services of the image
	named map[string]string // versions by targets
}

// newSwapping makes a system with the services web and other. Service added can be added.
// All have more annotations, as keys and values.
func newSwapping(t *testing.T, more ...string) *swapping {
	t.Helper()
	s := &swapping{system: prepareSystem(t), image: map[string]bool{"web": true, "other": true}, named: map[string]string{}}
	s.write(policyOf(s.dir), "services: [{name: '*', allow: [swap, add, remove, rollback], signed-by: [], gain: ['*']}]")
	annotations := map[string]string{"keelson.swap.probation": probation, "keelson.restart.delay": "10ms"}
	for i := 0; i < len(more); i += 2 {
		annotations[more[i]] = more[i+1]
	}
	for name := range s.image {
		s.add(name, scriptOf("image-"+name), annotations)
	}
	for _, name := range []string{"web", "added"} {
		nstest.Bundle(t, filepath.Join(templatesOf(s.dir), name), scriptOf("VERSION"), annotations, "")
	}
	s.write(filepath.Join(templatesOf(s.dir), endless), "")
	if err := os.Truncate(filepath.Join(templatesOf(s.dir), endless), 1<<40); err != nil {
		t.Fatal(err)
	}
	s.begin()
	s.until("web", "running", running)
	s.until("other", "running", running)
	return s
}

// artifact returns a new artifact of a service, and its version.
func (s *swapping) artifact(service, kind string) (text string, to versions.Target) {
	s.t.Helper()
	s.count++
	version := fmt.Sprintf("%s-%d", kind, s.count)
	text = service + " " + version
	to = target(s.t, text)
	s.named[service+" "+string(to)] = version
	return text, to
}

// request sends a request whose answer may be lost. It waits while the remains of an earlier
// swap are removed.
func (s *swapping) request(verb, name, text string) (done chan error) {
	done = make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var r control.Response
		var err error
		for again := true; again; again = strings.Contains(r.Error, "another swap of it has begun") {
			r, err = control.Unix(testSocket).Call(ctx, control.Request{Verb: verb, Names: []string{name}, Body: strings.NewReader(text)})
		}
		if err == nil && r.Error != "" {
			err = errors.New(r.Error)
		}
		done <- err
	}()
	return done
}

// read returns what the store holds of a service.
func (s *swapping) read(name string) versions.State {
	s.t.Helper()
	state, err := versions.New(versions.Dir).Read(name)
	if err != nil {
		s.fail("%v", err)
	}
	return state
}

var versionOf = regexp.MustCompile(`version=([a-z0-9-]+)\.;`)

// processes returns the version of each process, sorted.
func (s *swapping) processes() (found []string) {
	for _, pid := range processes(s.t, "version=") {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // It may have ended.
		if m := versionOf.FindSubmatch(text); m != nil {
			found = append(found, string(m[1]))
		}
	}
	slices.Sort(found)
	return found
}

// unsettled returns how the system differs from one in which name is at a target: no swap is
// left, each service runs once, and no other version has mounts.
func (s *swapping) unsettled(name string, want versions.Target) string {
	wanted := []string{"image-other"}
	if name != "web" {
		state := s.read("web")
		wanted = append(wanted, s.version("web", state.Current))
	}
	state := s.read(name)
	if state.Current != want || state.Trial != nil {
		return fmt.Sprintf("the store has %+v", state)
	}
	shims := 0
	if version := s.version(name, want); version != "" {
		wanted, shims = append(wanted, version), 1
	}
	wanted = slices.DeleteFunc(wanted, func(v string) bool { return v == "" })
	slices.Sort(wanted)
	if found := s.processes(); !slices.Equal(found, wanted) {
		return fmt.Sprintf("%q run, want %q", found, wanted)
	}
	if found := processes(s.t, "\x00-id\x00"+name); len(found) != shims { // Also those with the ID of a version.
		return fmt.Sprintf("%s has %d shims, want %d", name, len(found), shims)
	}
	if found := processes(s.t, "\x00stage-artifact\x00"); len(found) > 0 {
		return fmt.Sprintf("a root is being verified by %v", found)
	}
	mounted, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(mounted)) {
		at := strings.Fields(line)[1]
		if below, found := strings.CutPrefix(at, filepath.Join(versions.Dir, name)+"/"); found && !strings.HasPrefix(below, string(want)) {
			return at + " is mounted"
		}
	}
	return ""
}

// version returns the version of a target, or "" for none.
func (s *swapping) version(name string, t versions.Target) string {
	switch {
	case t == versions.Image && s.image[name]:
		return "image-" + name
	case !t.IsVersion():
		return ""
	}
	return s.named[name+" "+string(t)]
}

// settles waits until the system is settled.
func (s *swapping) settles(step, name string, want versions.Target) {
	s.t.Helper()
	problem := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if problem = s.unsettled(name, want); problem == "" {
			return
		}
	}
	s.fail("%s: %s", step, problem)
}
