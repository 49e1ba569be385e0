package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keelson/testvm/image/ocilayout"
)

// verify compares every blob of an image with its digest: go-containerregistry does
// not check the files of a layout when it reads them. Its package validate reads each
// layer twice, and compares the uncompressed content too.
func verify(img v1.Image) error {
	return ocilayout.EachBlob(img, matches)
}

func matches(kind string, want v1.Hash, r io.Reader) error {
	if want.Algorithm != "sha256" {
		return fmt.Errorf("digest %s of its %s has an unsupported algorithm", want, kind)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.Hex {
		return fmt.Errorf("its %s has digest %s, not %s", kind, got, want.Hex)
	}
	return nil
}
