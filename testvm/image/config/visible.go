package config

import (
	"fmt"
	"slices"
	"strings"
)

// hidden are the folders of the root on which init mounts file systems of the kernel.
// Below /run, /tmp and /var, init copies the image's files onto its mounts.
var hidden = []string{"dev", "proc", "sys"}

// keelsonDir is keelson's own folder; init copies nothing of it.
const keelsonDir = "run/keelson"

// foldersOfInit are folders that init makes before it copies the image's files. Anything
// else of that name would not be copied.
var foldersOfInit = []string{"run", "tmp", "var", "var/cache", "var/empty", "var/lib", "var/local", "var/lock", "var/log", "var/opt", "var/spool", "var/tmp"}

// CheckVisible returns an error if a file of the image at path, without a leading
// slash, does not exist on a running machine.
func CheckVisible(path string, folder bool) error {
	top, below, _ := strings.Cut(path, "/")
	switch {
	case below != "" && slices.Contains(hidden, top):
		return fmt.Errorf("/%s is hidden on a running machine: init mounts a file system of the kernel on /%s", path, top)
	case path == keelsonDir, strings.HasPrefix(path, keelsonDir+"/"):
		return fmt.Errorf("/%s is in keelson's own folder, which init does not copy from the image", path)
	case !folder && slices.Contains(foldersOfInit, path):
		return fmt.Errorf("/%s is a folder that init makes: nothing else can have that path", path)
	}
	return nil
}
