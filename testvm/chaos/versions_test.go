package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"keelson/testvm/image"
	"keelson/testvm/qemu"
)

// added is a service that the image does not have.
const added = "added"

// addedYAML is for artifacts only.
const addedYAML = `  - name: added
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; busybox sleep 100000 & wait"]
    annotations:
      keelson.restart: always
`

// removable are the services that may be removed: no other requires them.
var removable = []string{"count", "sidecar", "rude", added}

// policy allows every swap.
const policy = "services: [{name: '*', allow: [swap, add, remove, rollback], signed-by: [], gain: ['*']}]\n"

// artifactDir has the artifacts in the system: SERVICE-KIND.tar.zst.
const artifactDir = "/usr/lib/chaos"

// Kinds of versions. Those that fail do so in different ways.
const (
	good      = "good"
	better    = "better"
	exits     = "exits"
	unready   = "unready"
	unhealthy = "unhealthy"

	beside      = "beside"       // works; starts beside the version before
	besideExits = "beside-exits" // the same, and exits
)

// kinds are the versions of each service.
var kinds = map[string][]string{
	"count": {good, better, exits}, "sidecar": {good, exits, beside, besideExits}, "web": {good, better, unready, unhealthy},
	"rude": {good, exits}, added: {good, exits},
}

func fails(kind string) bool { return kind != good && kind != better && kind != beside }

// commands replace the command of a version that fails.
var commands = map[string]string{
	exits:       `exit 3`,
	besideExits: `busybox sleep 1; exit 3`,
	unready:     `trap 'exit 0' TERM; busybox sleep 100000 & wait`,
	unhealthy: `trap 'exit 0' TERM; busybox httpd -f -p 127.0.0.1:8080 & httpd=$!; busybox sleep 1; kill $httpd;
		busybox sleep 100000 & wait`,
}

// versionVariable is the environment variable by which the processes of a version are
// recognised; those of the image lack it.
const versionVariable = "VERSION="

// versionYAML returns the YAML of a service with a version's changes.
func versionYAML(service, kind string) string {
	text := "services:\n" + section(yaml+addedYAML, service)
	text = strings.Replace(text, "    command:", fmt.Sprintf("    env: [%q, %q]\n    command:", "PATH=/bin", versionVariable+service+"-"+kind), 1)
	if c, ok := commands[kind]; ok {
		command, _ := json.Marshal([]string{"/bin/busybox", "sh", "-c", strings.ReplaceAll(c, "\n\t\t", " ")})
		text = regexp.MustCompile(`(?m)^    command: .*$`).ReplaceAllLiteralString(text, "    command: "+string(command))
	}
	probation := "500ms"
	if fails(kind) { // A busy machine reports its end late.
		probation = "1m"
	}
	text += "      keelson.swap.probation: " + probation + "\n"
	if kind == beside || kind == besideExits {
		text += "      keelson.swap: overlap\n"
	}
	if kind == unready {
		text += "      keelson.ready.timeout: 2s\n"
	}
	return text
}

// section returns the lines of a service in the YAML of a system.
func section(text, service string) string {
	_, text, _ = strings.Cut(text, "  - name: "+service+"\n")
	text, _, _ = strings.Cut(text, "\n  - name: ")
	return "  - name: " + service + "\n" + strings.TrimSuffix(text, "\n") + "\n"
}

// artifacts are the versions that services are swapped to, made once.
var artifacts = sync.OnceValues(makeArtifacts)

type artifactFiles struct {
	files map[string]map[string][]byte // by form of the root and name
	kinds map[string]string            // SERVICE-KIND by digest
}

func makeArtifacts() (all artifactFiles, err error) {
	dir, err := os.MkdirTemp("", "keelson-chaos-")
	if err != nil {
		return all, err
	}
	defer os.RemoveAll(dir)
	all = artifactFiles{map[string]map[string][]byte{image.RootLayers: {}, image.RootErofs: {}}, map[string]string{}}
	for root := range all.files {
		for service, list := range kinds {
			for _, kind := range list {
				if err := all.add(filepath.Join(dir, "made.tar.zst"), root, service, kind); err != nil {
					return all, err
				}
			}
		}
	}
	return all, nil
}

// add makes an artifact.
func (a artifactFiles) add(out, root, service, kind string) error {
	name := service + "-" + kind
	made, err := image.WriteArtifact(context.Background(), image.Options{YAML: []byte(versionYAML(service, kind)), File: name + ".yml"},
		image.Artifact{Service: service, Archs: []string{qemu.AMD64}, Root: root}, image.Target{Name: out})
	if err != nil {
		return err
	}
	a.kinds[made[0].Digest] = name
	a.files[root][name+".tar.zst"], err = os.ReadFile(out)
	return err
}

// putArtifacts adds the artifacts, also of keelson's own programs, and the policy to files of the image.
func putArtifacts(t *testing.T, files map[string]string, root string) {
	t.Helper()
	made, err := artifacts()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range made.files[root] {
		files[filepath.Join(artifactDir, name)] = string(data)
	}
	files["etc/keelson/swap.yml"] = putPrograms(t, files) + policy
}
