// Package bundle reads the containers that lie in an image: a directory with
// config.json (OCI runtime specification), a root filesystem and, where
// LinuxKit's CLI made it, runtime.json with what is to be done around the
// container. It also holds keelson's own settings, which travel as
// annotations of config.json.
//
// It reads and checks; what it finds is done by the packages prepare and
// oneshot and by the supervisor. The types are shared with the image builder
// on the host, so they depend on nothing but the OCI specification's types.
//
// Sources: OCI runtime-spec, config.md ("Root", "Process") and bundle.md;
// OCI image-spec, annotations.md and conversion.md (stop signal); LinuxKit's
// docs/yaml.md, section "runtime".
//
// Every error names the file, the field and the value that is wrong. A bad
// setting is no error of Load: its default stands and Bundle.Warnings has it.
// Durations are time.Duration, written in annotations as Go writes them (10s).
package bundle
