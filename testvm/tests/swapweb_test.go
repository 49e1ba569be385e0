package tests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/agent"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/vm/vmtest"
)

// webFields is a service that answers at a kept socket with its first argument.
const webFields = `
  - name: web
    image: dir:PAYLOAD
    command: ["/testapp", "listen", "image"]
    net: host
    readonly: true
    annotations: {keelson.ready: notify, keelson.listen: "tcp:127.0.0.1:8080", keelson.swap.probation: 500ms}
`

const (
	webAddress = "127.0.0.1:8080"
	webClient  = "/containers/services/agent/rootfs/testapp" // of the machine
)

// webArtifact returns an artifact of web that answers with a text, and has more annotations.
func webArtifact(t *testing.T, text, annotations string) []byte {
	t.Helper()
	root := folder(t, "web", func(dir string) {
		vmtest.Program(t, qemu.AMD64, "./testvm/testapp", filepath.Join(dir, "testapp"))
	})
	yaml := "services:" + strings.NewReplacer("PAYLOAD", root, `"image"`, `"`+text+`"`,
		"probation: 500ms", "probation: 500ms"+annotations).Replace(webFields)
	out := filepath.Join(t.TempDir(), "web.tar.zst")
	if _, err := image.WriteArtifact(vmtest.Context(t), image.Options{YAML: []byte(yaml), File: "web.yml"},
		image.Artifact{Service: "web", Archs: []string{qemu.AMD64}}, image.Target{Name: out}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// swapWeb swaps web while a client connects all the time: to a version in its place, to one beside it,
// and back. Each connection is answered. The answer names what a reboot does without a disk.
func (s swapper) swapWeb() {
	s.Helper()
	const stop = "/run/stop-asking"
	s.put("/run/one.tar.zst", webArtifact(s.T, "one", ""))
	s.put("/run/two.tar.zst", webArtifact(s.T, "two", ", keelson.swap: overlap"))
	ctx, cancel := context.WithTimeout(vmtest.Context(s.T), vmtest.Patience)
	defer cancel()
	type outcome struct {
		agent.ExecResult
		err error
	}
	asked := make(chan outcome, 1)
	go func() {
		r, err := s.Exec(ctx, webClient, "ask", webAddress, stop)
		asked <- outcome{r, err}
	}()
	const note = "/var/lib/keelson/services is in memory: after a reboot the image's own version runs"
	for _, order := range [][]string{{"swap", "web", "/run/one.tar.zst"}, {"swap", "web", "/run/two.tar.zst"}, {"rollback", "web"}} {
		if out := s.service("", order...); !strings.Contains(out, note) {
			s.Errorf("service %q shows %q, want %q", order, out, note)
		}
	}
	s.put(stop, nil)
	r := <-asked
	if r.err != nil || r.Code != 0 {
		s.Fatalf("the client: code %d, %v: %s", r.Code, r.err, r.Stderr)
	}
	var texts []string
	for line := range strings.Lines(r.Stdout) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		texts = append(texts, text)
	}
	if strings.Join(texts, ", ") != "image, one, two" {
		s.Errorf("a client that connects all the time got:\n%s", r.Stdout)
	}
	s.Logf("answers: %s; %s", strings.ReplaceAll(strings.TrimSpace(r.Stdout), "\n", ", "), strings.TrimSpace(r.Stderr))
	if out := s.service("", "diff"); !strings.Contains(out, "web   swapped") {
		s.Errorf("service diff shows %q", out)
	}
}

// webOfImage checks that web is that of the image.
func (s swapper) webOfImage() {
	s.Helper()
	if out := s.service("", "diff", "--json"); strings.TrimSpace(out) != "[]" {
		s.Errorf("service diff shows %q", out)
	}
	if out := s.Output(webClient, "ask", webAddress, "/init"); strings.TrimSpace(out) != "1 image" {
		s.Errorf("web answers %q", out)
	}
}
