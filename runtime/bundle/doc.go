// Package bundle reads the containers of an image. A bundle is a directory with
// config.json (OCI runtime specification), a root filesystem and, if LinuxKit's CLI made
// it, runtime.json with preparations for the container. The package also reads keelson's
// own settings, which are annotations of config.json.
//
// It reads and checks; the packages prepare and oneshot and the supervisor carry out what
// it finds. The image builder on the host uses the same types, so they depend only on the
// types of the OCI specification.
//
// Sources: OCI runtime-spec, config.md ("Root", "Process") and bundle.md;
// OCI image-spec, annotations.md and conversion.md (stop signal); LinuxKit's
// docs/yaml.md, section "runtime".
//
// Each error names the file, the field and the bad value. A bad setting is not an error of
// Load: it keeps its default and is listed in Bundle.Warnings. Durations are written in
// annotations in Go's format (10s).
package bundle
