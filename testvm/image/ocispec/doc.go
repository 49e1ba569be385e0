// Package ocispec turns what a YAML file, an image's label and an image's
// configuration say of a container into the two files of its bundle: the OCI
// runtime specification (config.json) and runtime.json.
//
// It has no side effects and is not for reading images.
//
// Sources: LinuxKit's docs/yaml.md and the bundles its CLI makes, which package
// image's tests compare with; the OCI runtime specification; the OCI image
// specification's conversion.md. What the YAML file gives replaces what the
// label gives, which replaces what the image's configuration gives; only the
// .add forms add.
//
// Errors are *FieldError and name the field of the container.
package ocispec
