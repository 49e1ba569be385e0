// Package config is the YAML file an image is built from, or several that are
// merged: LinuxKit's format, read strictly, and the checks that need nothing but
// the files themselves.
//
// It is not for fetching anything a file names: see package source.
//
// Source of the format: LinuxKit's docs/yaml.md, and the JSON names of the OCI
// runtime specification (config.md, config-linux.md) for mounts, resources and
// id mappings. The one key beyond LinuxKit's is kernel.modules.
//
// Every error about a file is an *Error that names file, line and field; a
// field or key that is not known is an error.
package config
