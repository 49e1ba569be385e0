package signing

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"keelson/runtime/artifact"
	"keelson/runtime/artifact/signature"
	"keelson/testvm/tier"
)

// layoutFiles returns a small artifact: its files, and the digest of its manifest.
func layoutFiles() (files map[string]string, digest string) {
	files = map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}
	blob := func(text string) string {
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		files[blobs+sum] = text
		return fmt.Sprintf(`"digest":"sha256:%s","size":%d`, sum, len(text))
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":%q,`+
		`"config":{"mediaType":%q,%s},"layers":[{"mediaType":%q,%s}],"annotations":{%q:"web",%q:"amd64"}}`,
		artifact.Type, artifact.ConfigType, blob("{}"), artifact.RuntimeType, blob(`{"cgroups":[]}`), artifact.TitleKey, artifact.Architecture)
	files[indexFile] = fmt.Sprintf(`{"schemaVersion":2,"future":[1],"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"a":"b"}}]}`, blob(manifest))
	return files, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(manifest)))
}

// pack writes files as a folder or a tar.
func pack(t *testing.T, files map[string]string, kind string) string {
	t.Helper()
	dir := t.TempDir()
	if kind == "folder" {
		for name, text := range files {
			name = filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	var b bytes.Buffer
	var packed io.WriteCloser = plainWriter{&b}
	switch kind {
	case "zstd":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		packed = z
	case "gzip":
		packed = gzip.NewWriter(&b)
	}
	w := tar.NewWriter(packed)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "web.tar")
	if err := errors.Join(w.Close(), packed.Close(), os.WriteFile(name, b.Bytes(), 0o640)); err != nil {
		t.Fatal(err)
	}
	return name
}

// newKey makes a key with minisign(1). The secret one is encrypted if there is a password.
func newKey(t *testing.T, password string) (secret *Key, public signature.Key, publicFile string) {
	t.Helper()
	tier.Tool(t, "minisign", "minisign")
	dir := t.TempDir()
	publicFile, file := filepath.Join(dir, "key.pub"), filepath.Join(dir, "key")
	args := []string{"-G", "-p", publicFile, "-s", file}
	if password == "" {
		args = append(args, "-W")
	}
	cmd := exec.Command("minisign", args...)
	cmd.Stdin = strings.NewReader(password + "\n" + password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("minisign: %v: %s", err, out)
	}
	secret, err := LoadKey(file, func() (string, error) { return password, nil })
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(publicFile)
	if err != nil {
		t.Fatal(err)
	}
	if public, err = signature.ParseKey(string(text)); err != nil {
		t.Fatal(err)
	}
	return secret, public, publicFile
}

// annotation returns the signatures of the first manifest.
func annotation(t *testing.T, path string) string {
	t.Helper()
	l, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Future    []int
		Manifests []struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(l.index, &index); err != nil || len(index.Future) != 1 || index.Manifests[0].Annotations["a"] != "b" {
		t.Fatalf("%s: %v: other fields are changed", l.index, err)
	}
	return index.Manifests[0].Annotations[artifact.SignatureKey]
}

// What Sign writes is verified by minisign(1) and by Verify, in each form of an artifact.
func TestSign(t *testing.T) {
	secret, public, publicFile := newKey(t, "")
	second, secondPublic, _ := newKey(t, "")
	for _, kind := range []string{"folder", "tar", "zstd", "gzip"} {
		files, digest := layoutFiles()
		path := pack(t, files, kind)
		if _, err := Verify(path, []signature.Key{public}); err == nil || !strings.Contains(err.Error(), "no signature") {
			t.Errorf("%s: without signature: error %v", kind, err)
		}
		signed, err := Sign(path, secret)
		if err != nil || len(signed) != 1 || signed[0].Digest != digest || signed[0].Name != "web" || signed[0].Architecture != "amd64" {
			t.Fatalf("%s: %+v, %v", kind, signed, err)
		}
		minisignVerifies(t, publicFile, digest, annotation(t, path))
		first := annotation(t, path)
		for _, key := range []*Key{second, secret, secret} {
			if _, err := Sign(path, key); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(artifact.SplitSignatures(annotation(t, path))); n != 2 || !strings.HasSuffix(annotation(t, path), first) {
			t.Errorf("%s: %d signatures by two keys: %s", kind, n, annotation(t, path))
		}
		for _, key := range []signature.Key{public, secondPublic} {
			if _, err := Verify(path, []signature.Key{key}); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".signing-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %q, %v", kind, left, err)
		}
	}
}

func minisignVerifies(t *testing.T, publicFile, digest, file string) {
	t.Helper()
	text := filepath.Join(t.TempDir(), "text")
	if err := errors.Join(os.WriteFile(text, artifact.SignedText(digest), 0o600), os.WriteFile(text+".minisig", []byte(file), 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("minisign", "-V", "-p", publicFile, "-m", text).CombinedOutput(); err != nil || !strings.Contains(string(out), "web amd64 "+digest) {
		t.Errorf("minisign: %v: %s", err, out)
	}
}

func TestEncryptedKey(t *testing.T) {
	tier.Long(t) // The password is hashed for half a minute, with 1 GiB of memory.
	secret, public, _ := newKey(t, "secret")
	files, _ := layoutFiles()
	path := pack(t, files, "tar")
	if _, err := Sign(path, secret); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path, []signature.Key{public}); err != nil {
		t.Error(err)
	}
}

func TestBadArtifacts(t *testing.T) {
	secret, public, _ := newKey(t, "")
	for name, tt := range map[string]struct {
		change func(files map[string]string)
		want   string
	}{
		"no index":     {func(f map[string]string) { delete(f, indexFile) }, "not an OCI image layout"},
		"no manifests": {func(f map[string]string) { f[indexFile] = "{}" }, "lists no manifests"},
		"index is cut": {func(f map[string]string) { f[indexFile] = "{" }, "cannot read"},
		"changed blob": {func(f map[string]string) { f[blobs+fmt.Sprintf("%x", sha256.Sum256([]byte("{}")))] = "{ }" }, "another digest"},
		"missing blob": {func(f map[string]string) { delete(f, blobs+fmt.Sprintf("%x", sha256.Sum256([]byte("{}")))) }, "not in the layout"},
		"below an index": {func(f map[string]string) {
			f[indexFile] = strings.Replace(f[indexFile], "image.manifest", "image.index", 1)
		}, "an index itself"},
		"manifest is cut": {func(f map[string]string) {
			f[indexFile] = strings.Replace(f[indexFile], `"digest":"sha256:`, `"digest":"sha256:0`, 1)
		}, "not in the layout"},
	} {
		files, _ := layoutFiles()
		tt.change(files)
		for _, kind := range []string{"folder", "tar"} {
			path := pack(t, files, kind)
			if _, err := Sign(path, secret); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: signed: error %v, want one with %s", name, kind, err, tt.want)
			}
			if _, err := Verify(path, []signature.Key{public}); err == nil {
				t.Errorf("%s, %s: it is verified", name, kind)
			}
		}
	}
	for _, text := range []string{"", "x", "untrusted comment: a\nAAAA\n"} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Sign(path, secret); err == nil {
			t.Errorf("%q is signed", text)
		}
		if _, err := LoadKey(path, nil); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}
