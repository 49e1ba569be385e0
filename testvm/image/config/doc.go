// Package config reads the YAML file that an image is built from, or merges several:
// LinuxKit's format, read strictly. It makes the checks that need only the files
// themselves.
//
// It fetches nothing that a file names: see package source.
//
// Source of the format: LinuxKit's docs/yaml.md, and the JSON names of the OCI
// runtime specification (config.md, config-linux.md) for mounts, resources and
// id mappings. The one key beyond LinuxKit's is kernel.modules.
//
// Every error about a file is an *Error that names file, line and field. An unknown
// field or key is an error.
package config
