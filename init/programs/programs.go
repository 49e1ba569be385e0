package programs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keelson/mounts"
	"keelson/runtime/cmdline"
	"keelson/runtime/programs"
	"keelson/runtime/userspace"
)

// Parameter of the kernel command line. With the value image, the boot does not use the
// version in the store.
const Parameter = "keelson.programs"

// Run carries out an order of the role:
//
//	check TARGET      starts each program of a version once, and prints what it answers
//	try TARGET        puts a version into use
//	undo [WHY]        puts the committed version into use again, and ends the trial
func Run(ctx context.Context, env userspace.Environment, args []string) error {
	line, err := cmdline.Read(env)
	if err != nil {
		return err
	}
	r := role{store: programs.Dir, state: programs.State, imageOnly: imageOnly(line), verifyTime: verifyTime, out: os.Stdout}
	switch {
	case len(args) == 2 && args[0] == "check":
		return r.check(ctx, args[1])
	case len(args) == 2 && args[0] == "try":
		return r.try(args[1])
	case len(args) == 1 && args[0] == "undo":
		return r.undo("")
	case len(args) == 2 && args[0] == "undo":
		return r.undo(args[1])
	}
	return fmt.Errorf("cannot use arguments %q: want check TARGET, try TARGET or undo [WHY]", args)
}

// AtBoot puts the committed version into use, if there is one. It returns what it did.
func AtBoot(line cmdline.Line) (string, error) {
	if _, err := os.Lstat(filepath.Join(programs.Dir, "current")); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	r := role{store: programs.Dir, state: programs.State, imageOnly: imageOnly(line), verifyTime: verifyTimeAtBoot}
	target, err := r.useCurrent()
	if err != nil {
		return "", fmt.Errorf("the programs of the image run: %w", err)
	}
	if target == programs.Image {
		return "", nil
	}
	return "programs of version " + programs.DigestOf(target) + " are in use", nil
}

func imageOnly(line cmdline.Line) bool {
	value, given := line.Last(Parameter)
	return given && value == programs.Image
}

// role is what the role works with.
type role struct {
	store, state string
	imageOnly    bool // the command line says so
	verifyTime   time.Duration
	out          io.Writer
}

// use puts a target into use. On an error, the programs of the image are in use.
func (r role) use(target string) error {
	if err := programs.CheckTarget(target); err != nil {
		return err
	}
	var err error
	if target == programs.Image {
		err = mounts.UncoverPrograms()
	} else {
		dir := filepath.Join(r.store, target)
		if _, err = r.verify(dir, target); err == nil {
			err = mounts.CoverPrograms(filepath.Join(dir, programs.RootDir))
		}
	}
	if err != nil {
		return errors.Join(err, mounts.UncoverPrograms(), programs.WriteUsed(r.state, programs.Image))
	}
	return programs.WriteUsed(r.state, target)
}

// useCurrent puts the committed version into use, and returns it.
func (r role) useCurrent() (target string, err error) {
	target, err = programs.Current(r.store)
	if r.imageOnly || err != nil {
		target = programs.Image
	}
	err = errors.Join(err, mounts.UncoverPrograms()) // The program that verifies must not be one on trial.
	return target, errors.Join(err, r.use(target))
}

// try puts a version into use. On an error, the committed one is.
func (r role) try(target string) error {
	if err := r.use(target); err != nil {
		_, again := r.useCurrent()
		return errors.Join(err, again)
	}
	return nil
}

// undo ends a trial: the committed version is in use afterwards, which is that of the trial
// if only the end of the trial was not recorded. It does all that it can in spite of errors.
func (r role) undo(why string) error {
	trial, known, err := programs.ReadTrial(r.state)
	errs := []error{err}
	current, err := programs.Current(r.store)
	errs = append(errs, err)
	outcome := programs.Outcome{Target: trial.Target, Old: trial.Old, Committed: known && trial.Target == current && err == nil}
	if !outcome.Committed {
		outcome.Reason = strings.TrimSpace(programs.ReadReason(r.state))
		if outcome.Reason == "" {
			outcome.Reason = why
		}
		_, err := r.useCurrent()
		errs = append(errs, err)
	}
	if known {
		errs = append(errs, programs.EndTrial(r.state, outcome))
	}
	return errors.Join(errs...)
}
