package staging

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"sync"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/runtime/programs"
)

var digestForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) })

// checkMeta returns an error for values that no artifact can have. The parent checks them
// again: an artifact may have taken over the child.
func checkMeta(m artifact.Meta, architecture string) error {
	sum, err := hex.DecodeString(m.RootHash)
	salt, saltErr := hex.DecodeString(m.VeritySalt)
	switch {
	case !digestForm().MatchString(m.Digest):
		return fmt.Errorf("bad digest %q", m.Digest)
	case m.Architecture != architecture:
		return fmt.Errorf("bad architecture %q, want %s", m.Architecture, architecture)
	case m.Size < 0:
		return fmt.Errorf("bad size %d", m.Size)
	case err != nil || len(sum) > 64:
		return fmt.Errorf("annotation %s: bad value %q", artifact.VerityRootHash, m.RootHash)
	case (m.VerityOffset == 0) != (m.RootHash == "") || m.VerityOffset < 0 || m.VerityOffset%512 != 0:
		return fmt.Errorf("annotation %s: bad value %d", artifact.VerityOffset, m.VerityOffset)
	case m.VerityBlocks < 0 || m.VerityBlocks > m.VerityOffset/artifact.VerityBlock || m.VerityBlocks > 0 && len(sum) != sha256.Size:
		return fmt.Errorf("annotation %s: bad value %d", artifact.VerityBlocks, m.VerityBlocks)
	case saltErr != nil || len(salt) > artifact.VerityMaxSalt || m.VeritySalt != "" && m.VerityBlocks == 0:
		return fmt.Errorf("annotation %s: bad value %q", artifact.VeritySalt, m.VeritySalt)
	case m.RootDigest != "" && (m.RootHash == "" || !digestForm().MatchString(m.RootDigest)):
		return fmt.Errorf("bad digest %q of the root", m.RootDigest)
	case m.Unpacked && (m.Image || m.RootHash != ""):
		return errors.New("the root is not both unpacked and an image")
	case m.Programs && (m.Image || m.Unpacked || m.Name != "" || m.Writable || m.RootHash != ""):
		return errors.New("an artifact with programs has values of another one")
	case m.Image && (m.Name != "" || m.Writable || m.RootHash != ""):
		return errors.New("a container image has values of an artifact")
	case m.Reference != "" && (!m.Image || !referenceForm().MatchString(m.Reference)):
		return fmt.Errorf("bad name of an image %q", m.Reference)
	}
	if _, err := time.Parse(time.RFC3339, m.Created); m.Created != "" && err != nil {
		return fmt.Errorf("annotation %s: bad time %q, want that of RFC 3339", artifact.CreatedKey, m.Created)
	}
	if m.Image || m.Programs {
		return nil
	}
	if err := bundle.CheckName("services", m.Name); err != nil {
		return fmt.Errorf("annotation %s: %w", artifact.TitleKey, err)
	}
	return nil
}

// checkPlace checks where the child says that the root is in the file.
func checkPlace(m artifact.Meta, o Options, input *os.File) error {
	if m.InPlace == nil {
		return nil
	}
	bad := fmt.Errorf("bad place of the root: %d bytes from %d on", m.InPlace.Size, m.InPlace.Offset)
	if !o.InPlace || input == nil || m.RootDigest == "" || m.VerityBlocks == 0 || m.InPlace.Offset < 0 || m.InPlace.Size <= 0 {
		return bad
	}
	info, err := input.Stat()
	if err == nil && (m.InPlace.Offset > info.Size() || m.InPlace.Size > info.Size()-m.InPlace.Offset) {
		err = bad
	}
	return err
}

// checkFiles returns an error unless dir has the files of an unpacked artifact, and
// nothing else: a link in their place would lead the supervisor elsewhere.
func checkFiles(dir string, m artifact.Meta) error {
	want := map[string]fs.FileMode{artifact.File: 0, configFile: 0, runtimeFile: 0, artifact.RootDir: fs.ModeDir}
	if m.InPlace != nil {
		want = map[string]fs.FileMode{artifact.File: 0, configFile: 0, runtimeFile: 0, artifact.RootErofs: 0}
	}
	if m.Image {
		want = map[string]fs.FileMode{artifact.File: 0, artifact.ImageFile: 0, artifact.RootDir: fs.ModeDir}
	}
	if m.Programs {
		want = map[string]fs.FileMode{artifact.File: 0, programs.ManifestFile: 0, programs.ListFile: 0, artifact.RootDir: fs.ModeDir}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read the staging folder: %w", err)
	}
	for _, e := range entries {
		kind, ok := want[e.Name()]
		if e.Name() == artifact.RootErofs && !m.Image && !m.Programs {
			delete(want, artifact.RootDir)
			kind, ok = 0, true
		}
		if !ok || e.Type() != kind {
			return fmt.Errorf("the child has left %s in the staging folder, which does not belong there", e.Name())
		}
		delete(want, e.Name())
	}
	for name := range want {
		return fmt.Errorf("the child has not made %s", name)
	}
	return nil
}
