package boot

import (
	"context"
	"fmt"
	"strings"

	"keelson/init/covered/restore"
	"keelson/init/step"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

// failuresShown bounds the messages about single files.
const failuresShown = 10

// Files is the role that copies the image's files below dirs, which mounts cover,
// onto these mounts. Failures are reported on the console; they affect only the files
// that are named.
func Files(ctx context.Context, env userspace.Environment, dirs []string) error {
	return runRole(env, func(rc roleContext) error {
		return step.Run(ctx, rc.console, rc.log, []step.Step{{Stage: timeline.Mounts, Name: "files", Do: func(ctx context.Context) (string, error) {
			report, err := restore.Files(ctx, dirs)
			for _, f := range report.Failed[:min(len(report.Failed), failuresShown)] {
				rc.log.Error("a file of the image is missing or incomplete", "path", f.Path, "error", f.Err)
			}
			return filesResult(report, err)
		}}})
	})
}

// filesResult is the result as one line for the console.
func filesResult(r restore.Report, err error) (string, error) {
	result := fmt.Sprintf("%d of the image copied", r.Copied)
	if len(r.Kept) > 0 {
		result += "; not replaced: " + strings.Join(r.Kept, " ")
	}
	if len(r.Failed) > 0 {
		return "", fmt.Errorf("%s, %d missing or incomplete", result, len(r.Failed))
	}
	return result, err
}
