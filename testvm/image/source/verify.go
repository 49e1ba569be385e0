package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// verify compares everything an image is made of with its digest: what lies in
// a layout is not checked when it is read.
func verify(img v1.Image) error {
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	if err := matches("manifest", bytes.NewReader(raw), digest); err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if err := matches("configuration", bytes.NewReader(config), m.Config.Digest); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return fmt.Errorf("layer %s: %w", m.Layers[i].Digest, err)
		}
		err = errors.Join(matches("layer", r, m.Layers[i].Digest), r.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

func matches(what string, r io.Reader, want v1.Hash) error {
	if want.Algorithm != "sha256" {
		return fmt.Errorf("digest %s of its %s is of a kind that is not supported", want, what)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.Hex {
		return fmt.Errorf("its %s has digest %s, not %s", what, got, want.Hex)
	}
	return nil
}
