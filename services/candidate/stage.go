package candidate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/runtime/staging"
	"keelson/services/control"
	"keelson/services/versions"
)

// Stage reads an artifact into dir, an empty folder. On an error, dir is empty again.
type Stage func(ctx context.Context, dir string, artifact io.Reader, o Staging) (artifact.Meta, error)

// Staging are the options of Stage.
type Staging struct {
	Progress  func(string) // is called from time to time; it does not block
	DeferRoot bool         // as in staging.Options
	InPlace   bool         // as in staging.Options
}

// Digest writes a file and its file system to the disk, and returns the digest of the file.
// dir is an empty folder. It takes long.
type Digest func(ctx context.Context, dir, path string) (string, error)

// DigestWith reads files in a confined process.
func DigestWith(logger *slog.Logger) Digest {
	return func(ctx context.Context, dir, path string) (string, error) {
		return staging.Digest(ctx, staging.Options{Logger: logger}, dir, path)
	}
}

// Copy copies a part of a file to the one at path, writes that and its file system to the disk, and
// returns the digest of the copy. dir is an empty folder. It takes long.
type Copy func(ctx context.Context, dir string, from *os.File, place artifact.Place, path string) (string, error)

// CopyWith copies files in a confined process.
func CopyWith(logger *slog.Logger) Copy {
	return func(ctx context.Context, dir string, from *os.File, place artifact.Place, path string) (string, error) {
		return staging.Copy(ctx, staging.Options{Logger: logger}, dir, from, place, path)
	}
}

// StageWith reads artifacts in a confined process.
func StageWith(logger *slog.Logger) Stage {
	return func(ctx context.Context, dir string, r io.Reader, o Staging) (artifact.Meta, error) {
		const step = 16 << 20
		next := int64(step)
		return staging.Stage(ctx, staging.Options{Logger: logger, Images: func() bool { return prepare.LackingForImages() == nil }, DeferRoot: o.DeferRoot, InPlace: o.InPlace, Progress: func(done int64) {
			if done >= next {
				next = done + step
				o.Progress(fmt.Sprintf("read %d MiB", done>>20))
			}
		}}, dir, r)
	}
}

// receive reads an artifact and stores it as a version.
func (f *Finder) receive(ctx context.Context, r control.Request, c *Candidate, progress func(string)) error {
	free, err := f.reserve()
	if err != nil {
		return err
	}
	defer free()
	staged, err := f.Versions.Stage(c.Name)
	if err != nil {
		return err
	}
	deferred := !r.Plan && !r.Force // A plan says all, and a version that failed before may have been damaged.
	meta, err := f.Stage(ctx, staged, r.Body, Staging{Progress: progress, DeferRoot: deferred, InPlace: deferred})
	if err == nil && meta.InPlace != nil {
		c.Origin, err = newOrigin(r.Body, *meta.InPlace)
	}
	if err == nil {
		c.Next, err = f.accept(c, staged, meta, r.Force)
	}
	if meta.Unpacked {
		c.Notes = append(c.Notes, fmt.Sprintf("the root is unpacked, not mounted as an erofs image: %v", prepare.LackingForImages()))
	}
	if err == nil { // Nobody has verified the files of a version that was kept and never committed.
		err = f.Versions.RemoveUnused(c.Name, c.Next)
	}
	if err == nil {
		err = f.Versions.Keep(c.Name, staged, c.Next)
	}
	if err != nil {
		return errors.Join(err, f.Versions.Discard(staged))
	}
	if deferred {
		c.RootDigest = meta.RootDigest
	}
	return nil
}

// reserve allows one artifact to be read at a time. free allows the next one.
func (f *Finder) reserve() (free func(), err error) {
	select {
	case f.staging <- struct{}{}:
		return func() { <-f.staging }, nil
	default:
		return nil, errors.New("another artifact is being read")
	}
}

// Read reads an artifact of another kind into dir, an empty folder, and verifies all of it.
func (f *Finder) Read(ctx context.Context, dir string, r io.Reader, progress func(string)) (meta artifact.Meta, err error) {
	free, err := f.reserve()
	if err != nil {
		return meta, err
	}
	defer free()
	return f.Stage(ctx, dir, r, Staging{Progress: progress})
}

// DigestOfRoot returns the digest of the erofs image of a candidate, after the version is on the disk.
// An image that is still elsewhere is copied before.
func (f *Finder) DigestOfRoot(ctx context.Context, c *Candidate) (digest string, err error) {
	empty, err := f.Versions.Stage(c.Name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.Dir, artifact.RootErofs)
	if c.Origin == nil {
		digest, err = f.Digest(ctx, empty, path)
	} else {
		digest, err = f.Copy(ctx, empty, c.Origin.file, c.Origin.place, path)
	}
	return digest, errors.Join(err, f.Versions.Discard(empty))
}

// accept checks what an artifact says of itself, and makes a bundle of a container image.
func (f *Finder) accept(c *Candidate, staged string, meta artifact.Meta, force bool) (target versions.Target, err error) {
	switch {
	case meta.Programs:
		err = errors.New("it is an artifact of keelson programs: service swap -programs takes it")
	case meta.Image:
		target, err = f.mergeImage(c, staged, meta)
	case meta.Name != "" && meta.Name != c.Name:
		err = fmt.Errorf("the artifact is for service %s", meta.Name)
	default:
		target, err = versions.TargetOf(meta.Digest)
	}
	if err != nil {
		return "", err
	}
	why, err := f.Versions.Rejected(c.Name, target)
	if err != nil {
		return "", err
	}
	if why != "" && !force {
		return "", fmt.Errorf("version %s failed before: %s; service swap -f swaps it nevertheless", target, why)
	}
	return target, f.Versions.Forgive(c.Name, target)
}

// mergeImage makes a bundle of a container image, with the settings of the current version.
func (f *Finder) mergeImage(c *Candidate, staged string, meta artifact.Meta) (versions.Target, error) {
	if c.Old == versions.Removed || c.Old == versions.Image && !c.InImage {
		return "", errors.New("it is a container image, and there is no such service whose settings it could take: " +
			"add the service with a bundle artifact (keelson bundle)")
	}
	service, err := bundle.Load(f.Folder(c.Name, c.Old))
	if err != nil {
		return "", err
	}
	service.Name = c.Name // The folder of a version has another name.
	target, notes, err := f.Versions.MergeImage(staged, meta, service)
	c.Notes = notes
	return target, err
}
