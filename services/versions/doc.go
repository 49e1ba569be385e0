// Package versions keeps on a disk the versions of services that replace those of the
// image.
//
// Each service that was ever swapped has a folder in /var/lib/keelson/services:
//
//	NAME/sha256-HEX/    a version: an unpacked bundle artifact (package artifact)
//	NAME/sha256-HEX-SUM/  a version: a container image, merged with settings whose sum is SUM
//	NAME/current        link to the version that runs
//	NAME/previous       link to the version that ran before
//	NAME/record.json    when current was set, and by whom
//	NAME/trial.json     a swap that is not committed yet
//	NAME/rejected.json  versions that failed, and why
//	NAME/staging-…/     an artifact that is being read, or a version that is being removed
//
// A link leads to a version, or is called "image" (the bundle of the image) or "removed"
// (the service is masked). Without the link current, the bundle of the image is current.
//
// The rename of the link current commits a swap. Every change is durable before the next
// one begins, so that after a power cut between any two of them Recover finds the old
// version or the new one current, and the other as it was.
//
// The supervisor is the only user; its calls must not overlap for one service.
package versions
