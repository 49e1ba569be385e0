package swappolicy

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jedisct1/go-minisign"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
)

const (
	publicKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3" // of minisign's own author
	digest    = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func policy(t *testing.T, text string) *Policy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "swap.yml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func web(caps ...string) *bundle.Bundle {
	return &bundle.Bundle{Name: "web", Spec: &specs.Spec{
		Process: &specs.Process{Args: []string{"/web"}, Cwd: "/", Capabilities: &specs.LinuxCapabilities{Effective: caps, Permitted: caps}},
		Root:    &specs.Root{Path: "rootfs"},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}},
	}}
}

// expect checks the error of a request: it contains all words, or there is none.
func expect(t *testing.T, name string, p *Policy, r Request, words ...string) {
	t.Helper()
	err := p.Check(r)
	if len(words) == 0 {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("%s: error %v, want a refusal", name, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: error %v, want one with %s", name, err, word)
		}
	}
}

func TestWithoutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swap.yml")
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	image := web()
	expect(t, "same privileges", p, Request{Name: "web", Verb: Swap, Digest: digest, New: web(), Image: image})
	expect(t, "back to the image", p, Request{Name: "web", Verb: Rollback, Image: image})
	expect(t, "a capability", p, Request{Name: "web", Verb: Swap, Digest: digest, New: web("CAP_CHOWN"), Image: image},
		"process.capabilities.effective=CAP_CHOWN", `gain: ["process.capabilities=CAP_CHOWN"]`, path, "with the name web")
	expect(t, "rollback to a capability", p, Request{Name: "web", Verb: Rollback, Digest: digest, New: web("CAP_CHOWN"), Image: image}, "CAP_CHOWN")
	expect(t, "an added service", p, Request{Name: "new", Verb: Add, Digest: digest, New: web()}, "add is not in allow", "no such service", "allow: [swap, rollback, add]")
	expect(t, "swap of an added service", p, Request{Name: "new", Verb: Swap, Digest: digest, New: web()}, "add is not in allow")
	expect(t, "removal", p, Request{Name: "web", Verb: Remove, Image: image}, "remove is not in allow")
	if err := p.Check(Request{Name: "web", Verb: Swap, Digest: digest, Image: image}); err == nil {
		t.Error("no error without an artifact")
	}
	if err := p.Check(Request{Name: "web", Verb: Swap, New: web(), Image: image}); err == nil {
		t.Error("no error without a digest")
	}
}

func TestRules(t *testing.T) {
	p := policy(t, `
default:
  allow: [swap]
services:
  - name: web
    gain: ["process.capabilities=CAP_CHOWN", root]
  - name: w*
    allow: [remove, add, swap]
  - name: closed
    allow: []
  - name: open
    gain: ["*"]
`)
	image := web()
	expect(t, "a listed capability", p, Request{Name: "web", Verb: Swap, Digest: digest, New: web("CAP_CHOWN"), Image: image})
	expect(t, "another one", p, Request{Name: "web", Verb: Swap, Digest: digest, New: web("CAP_CHOWN", "CAP_FOWNER"), Image: image},
		"asks for more", `gain: ["process.capabilities=CAP_FOWNER", "process.capabilities=CAP_CHOWN", "root"]`)
	expect(t, "the entry has no allow", p, Request{Name: "web", Verb: Remove, Image: image}, "remove is not in allow", "allow: [swap, remove]")
	expect(t, "a pattern", p, Request{Name: "worker", Verb: Remove, Image: image})
	expect(t, "an added service", p, Request{Name: "worker", Verb: Add, Digest: digest, New: web()})
	expect(t, "its capability", p, Request{Name: "worker", Verb: Add, Digest: digest, New: web("CAP_CHOWN")}, "CAP_CHOWN", "with the name w*")
	expect(t, "an empty list", p, Request{Name: "closed", Verb: Swap, Digest: digest, New: web(), Image: image}, "swap is not in allow")
	expect(t, "all privileges", p, Request{Name: "open", Verb: Swap, Digest: digest, New: web("CAP_SYS_ADMIN"), Image: image})
	expect(t, "without entry", p, Request{Name: "x", Verb: Swap, Digest: digest, New: web(), Image: image})
	expect(t, "rollback without entry", p, Request{Name: "x", Verb: Rollback, Image: image}, "rollback is not in allow")
	writable := web()
	image.Spec.Root.Readonly = true
	expect(t, "a listed field", p, Request{Name: "web", Verb: Swap, Digest: digest, New: writable, Image: image})
	expect(t, "an empty file", policy(t, ""), Request{Name: "web", Verb: Swap, Digest: digest, New: web(), Image: image}, "swap is not in allow")
}

// testKey returns a public key, and a function that signs with its secret one.
func testKey() (public string, sign func(digest string) string) {
	var secret minisign.PrivateKey
	copy(secret.SignatureAlgorithm[:], "Ed")
	copy(secret.KeyId[:], "keelson!")
	copy(secret.SecretKey[:], ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	k := secret.PublicKey()
	public = base64.StdEncoding.EncodeToString(slices.Concat(k.SignatureAlgorithm[:], k.KeyId[:], k.PublicKey[:]))
	return public, func(digest string) string {
		s, err := secret.Sign(artifact.SignedText(digest), minisign.SignOptions{Hashed: true})
		if err != nil {
			return err.Error()
		}
		return string(s.Encode())
	}
}

func TestSignatures(t *testing.T) {
	public, sign := testKey()
	p := policy(t, `
keys: {release: `+publicKey+`, ops: `+public+`}
default:
  allow: [swap, rollback]
services:
- name: strict
  signed-by: [release]
- name: unsigned
  signed-by: []
`)
	request := func(name string, signatures ...string) Request {
		return Request{Name: name, Verb: Swap, Digest: digest, Signatures: signatures, New: web(), Image: web()}
	}
	expect(t, "one of all keys", p, request("web", "x", sign(digest)))
	expect(t, "no signature", p, request("web"), "has no signature", "ops (", "release (E7620F1842B4E81F)")
	expect(t, "another digest", p, request("web", sign(strings.Replace(digest, "e3", "e4", 1))), "a signature by ops")
	expect(t, "another key", p, request("strict", sign(digest)), "a signature by release", "not by E7620F1842B4E81F")
	expect(t, "none is needed", p, request("unsigned"))
	expect(t, "back to the image", p, Request{Name: "web", Verb: Rollback, Image: web()})
	rollback := request("web")
	rollback.Verb = Rollback
	expect(t, "back to an artifact", p, rollback, "has no signature")
}

func TestBadFiles(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"keys:\n  a: b\nextra: 1\n", "line 3: unknown key extra"},
		{"services:\n- name: a\n  grain: []\n", "line 3: unknown key grain"},
		{"default:\n  allow: swap\n", "line 2: cannot unmarshal"},
		{"default: {allow: [swap]}\ndefault: {allow: []}\n", "line 2: key default occurs twice"},
		{"default: {allow: [swop]}", `default.allow[0]: "swop" is not one of`},
		{"keys: {a: b}", "keys.a: not a public key"},
		{"services: [{allow: [swap]}]", "services[0].name"},
		{"services: [{name: '['}]", "services[0].name"},
		{"services: [{name: a}, {name: a}]", `services[1].name: "a" occurs twice`},
		{"services: [{name: a, signed-by: [x]}]", "services[0].signed-by[0]: there is no key"},
		{"services: [{name: a, gain: ['=x']}]", "services[0].gain[0]"},
		{"services: [{name: a, gain: ['root=']}]", "services[0].gain[0]"},
		{"default: {allow: [swap]}\n---\ndefault: {allow: [swap]}\n", "only one YAML document"},
		{"a: [", "line 1"},
		{"\tx", "cannot start any token"},
		{"[]", "cannot unmarshal"},
		{strings.Repeat("#", sizeLimit+1), "larger than"},
	} {
		path := filepath.Join(t.TempDir(), "swap.yml")
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || p != nil ||
			strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "swappolicy.") && !strings.Contains(err.Error(), "unmarshal") {
			t.Errorf("%q: error %v, want one with %s", tt.text[:min(60, len(tt.text))], err, tt.want)
		}
	}
}

// What is at the path but cannot be read is not taken for no policy.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink("missing", link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link, fifo} {
		if p, err := Load(path); err == nil || p != nil {
			t.Errorf("%s is read as a policy", path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("keys: {a: " + publicKey + "}\ndefault: {allow: [swap], signed-by: [a], gain: [root]}\nservices: [{name: 'w*', allow: [add]}]")
	f.Add("a: &a [*a]")
	f.Add("services:\n- name: a\n  <<: {allow: [swap]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("swap.yml", []byte(text))
		if err != nil {
			return
		}
		r := Request{Name: "web", Verb: Swap, Digest: digest, New: web("CAP_CHOWN"), Image: web()}
		var refused *RefusedError
		if err := p.Check(r); err != nil && !errors.As(err, &refused) {
			t.Error(err)
		}
	})
}

// The example in the documentation does what the text says.
func TestDocumentedPolicy(t *testing.T) {
	doc, err := os.ReadFile("../../docs/swap-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	p := policy(t, text)
	if len(p.keys) != 2 || len(p.file.Services) != 3 {
		t.Fatalf("the example is read as %+v", p.file)
	}
	expect(t, "never", p, Request{Name: "sshd", Verb: Swap, Digest: digest, New: web(), Image: web()}, "swap is not in allow")
	expect(t, "removal", p, Request{Name: "agent-x", Verb: Remove})
	expect(t, "unsigned", p, Request{Name: "redis", Verb: Swap, Digest: digest, New: web(), Image: web()}, "a signature by release")
}
