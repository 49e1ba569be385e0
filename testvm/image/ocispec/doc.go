// Package ocispec makes the two files of a container's bundle, the OCI runtime
// specification (config.json) and runtime.json, from a YAML file, an image's label and
// an image's configuration.
//
// It has no side effects and reads no images.
//
// Sources: LinuxKit's docs/yaml.md and the bundles its CLI makes, which package
// image's tests compare with; the OCI runtime specification; the OCI image
// specification's conversion.md. A setting of the YAML file replaces the label's, which
// replaces the image configuration's; only the .add forms add.
//
// Errors are *FieldError and name the field of the container.
package ocispec
