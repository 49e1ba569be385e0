// Package verify verifies the files of a version of keelson's own programs. It is not part of
// /init, to which SHA-256 would add 230 KB: `service verify-programs` runs it there.
package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"keelson/runtime/programs"
	"keelson/runtime/readfile"
)

// Version checks that the folder dir holds the version with this digest (sha256:HEX), file by
// file, and nothing else below programs.RootDir. It returns the list of its files.
func Version(dir, digest string) (programs.List, error) {
	list, err := verify(dir, digest)
	if err != nil {
		return nil, fmt.Errorf("cannot use the programs in %s: %w", dir, err)
	}
	return list, nil
}

func verify(dir, digest string) (programs.List, error) {
	text, err := readVerified(dir, programs.ManifestFile, digest)
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Config struct {
			Digest string `json:"digest"`
		} `json:"config"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", programs.ManifestFile, err)
	}
	if text, err = readVerified(dir, programs.ListFile, manifest.Config.Digest); err != nil {
		return nil, err
	}
	list, err := programs.ParseList(text)
	if err != nil {
		return nil, err
	}
	for name := range list {
		if err := verifyProgram(filepath.Join(dir, programs.RootDir, name), list, name); err != nil {
			return nil, err
		}
	}
	return list, onlyListed(filepath.Join(dir, programs.RootDir), list)
}

// readVerified reads a small file whose digest is known.
func readVerified(dir, name, digest string) ([]byte, error) {
	path := filepath.Join(dir, name)
	text, err := readfile.NoFollow(path, programs.DocumentLimit)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	if "sha256:"+hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("%s has another content than its digest %s", path, digest)
	}
	return text, nil
}

func verifyProgram(path string, list programs.List, name string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if list.IsLink(name) {
		target, err := os.Readlink(path)
		if err == nil && target != programs.LinkTarget {
			err = fmt.Errorf("%s leads to %q, want %s", path, target, programs.LinkTarget)
		}
		return err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case mode != mode.Perm() || mode.Perm()&0o111 != 0o111 || mode.Perm()&0o022 != 0:
		return fmt.Errorf("%s has mode %v, want that of a program which only its owner may change", path, mode)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (st.Uid != 0 || st.Gid != 0) && os.Geteuid() == 0 {
		return fmt.Errorf("%s belongs to user %d and group %d, want root", path, st.Uid, st.Gid)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != list[name] {
		return fmt.Errorf("%s has another content than its digest %s", path, list[name])
	}
	return nil
}

// onlyListed returns an error if the folder root has a file that list lacks.
func onlyListed(root string, list programs.List) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		switch {
		case name == "":
			return nil
		case e.IsDir() && programs.IsFolder(name):
			info, err := e.Info()
			if err == nil && info.Mode().Perm()&0o022 != 0 {
				err = errors.New(path + " may be changed by others than its owner")
			}
			return err
		case e.IsDir() || list[name] == "":
			return fmt.Errorf("%s is not in the list of programs", path)
		}
		return nil
	})
}
