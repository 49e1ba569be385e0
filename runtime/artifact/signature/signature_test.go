package signature

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/artifact"
	"keelson/testvm/tier"
)

const (
	digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	other  = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// keyFile makes a key with minisign(1), and returns its public and its secret file.
func keyFile(t *testing.T) (public, secret string) {
	t.Helper()
	tier.Tool(t, "minisign", "minisign")
	dir := t.TempDir()
	public, secret = filepath.Join(dir, "key.pub"), filepath.Join(dir, "key")
	runMinisign(t, "-G", "-W", "-p", public, "-s", secret)
	return public, secret
}

func runMinisign(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("minisign", args...).CombinedOutput(); err != nil {
		t.Fatalf("minisign %q: %v: %s", args, err, out)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What minisign signs is accepted, with and without a hash before the signature (-l), and
// nothing that was changed.
func TestVerifyMinisign(t *testing.T) {
	public, secret := keyFile(t)
	key, err := ParseKey(readFile(t, public))
	if err != nil {
		t.Fatal(err)
	}
	otherPublic, _ := keyFile(t)
	stranger, err := ParseKey(strings.Split(readFile(t, otherPublic), "\n")[1])
	if err != nil {
		t.Fatal(err)
	}
	// minisign leaves out zeros before a number.
	if !strings.Contains(readFile(t, public), " "+strings.TrimLeft(key.ID(), "0")+"\n") {
		t.Errorf("the number of the key is %s in %s", key.ID(), readFile(t, public))
	}
	for _, mode := range []string{"-H", "-l"} {
		text := filepath.Join(t.TempDir(), "text")
		if err := os.WriteFile(text, artifact.SignedText(digest), 0o600); err != nil {
			t.Fatal(err)
		}
		runMinisign(t, "-S", mode, "-s", secret, "-m", text, "-t", "web 1.2")
		file := readFile(t, text+".minisig")
		for _, tt := range []struct {
			key          Key
			digest, file string
			want         string
		}{
			{key, digest, file, ""},
			{key, digest, strings.ReplaceAll(file, "untrusted comment: ", "untrusted comment: x"), ""},
			{key, other, file, "does not belong to " + other},
			{key, digest, strings.Replace(file, "web 1.2", "web 1.3", 1), "does not belong"},
			{stranger, digest, file, "signed by the key " + key.ID()},
			{key, digest, "", "not a signature"},
			{key, digest, "1\n2\n3\n4\n", "not a signature"},
			{key, digest, strings.ReplaceAll(file, "trusted comment: ", "comment: "), "does not belong"},
		} {
			err := tt.key.Verify(tt.digest, tt.file)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("minisign %s: %q: error %v, want %q", mode, tt.file, err, tt.want)
			}
		}
	}
}

func TestParseKey(t *testing.T) {
	const key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
	for _, good := range []string{key, "untrusted comment: minisign public key E7620F1842B4E81F\n" + key + "\n"} {
		k, err := ParseKey(good)
		if err != nil || k.ID() != "E7620F1842B4E81F" {
			t.Errorf("ParseKey(%q) = %s, %v", good, k.ID(), err)
		}
	}
	for _, bad := range []string{"", "x", key[:50], "untrusted comment: a", "AA" + key[2:]} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) has no error", bad)
		}
	}
}

func FuzzVerify(f *testing.F) {
	key, err := ParseKey("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("untrusted comment: a\nRUQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\ntrusted comment: b\nAAAA\n")
	f.Add("\n\n\n\n")
	f.Fuzz(func(t *testing.T, file string) {
		if key.Verify(digest, file) == nil {
			t.Errorf("%q is a signature", file)
		}
	})
}
