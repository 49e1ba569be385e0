package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/testvm/tier"
)

// asService makes this test binary the program service for the system at a socket.
const asService = "KEELSON_TEST_SERVICE"

func TestMain(m *testing.M) {
	if socket := os.Getenv(asService); socket != "" {
		app := &App{Name: "service", Client: control.Unix(socket), In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
		app.Machine = &Machine{Timeline: func() ([]timeline.Event, error) { return nil, nil }}
		os.Exit(app.Run(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// Shells, and how each prints what can follow the line in LINE.
var completers = map[string]string{
	"bash": `
		source /usr/share/bash-completion/bash_completion
		source <(service completion bash)
		read -ra COMP_WORDS <<<"$LINE"
		[ "${LINE% }" = "$LINE" ] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9 COMP_KEY=9
		compopt() { :; } # works only while the shell completes
		handler=$(complete -p service | sed 's/.* -F \([^ ]*\) .*/\1/')
		$handler
		for reply in "${COMPREPLY[@]}"; do echo "${reply%% *}"; done`,
	"zsh": `
		compdef() { handler=$1; }
		_describe() { # of zsh's completion system: names are in the array whose name is among the arguments
			local array=${argv[-1]}
			[[ -n ${(P)array} ]] || array=completions
			print -l -- ${(P)array%%:*}
		}
		source <(service completion zsh)
		words=(${(s: :)LINE})
		[[ $LINE = *' ' ]] && words+=("")
		CURRENT=$#words
		$handler`,
	"fish": `
		service completion fish | source
		complete --do-complete=$LINE | string split -f1 \t; true`,
}

// The scripts for shells complete verbs, options and the names of the services that the running
// system has. Real shells run them.
func TestCompletion(t *testing.T) {
	socket := serve(t, &system{services: two}).Where
	dir := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "service"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for shell, script := range completers {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				tier.Skip(t, "no %s", shell)
			}
			if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); shell == "bash" && err != nil {
				tier.Skip(t, "no bash-completion")
			}
			for line, want := range map[string]string{
				"service sta": "start stats status", "service status ": "nginx redis", "service status re": "redis", "service restart redis ": "nginx",
				"service remove redis ": "", "service completion ": "bash fish zsh", "service help rol": "rollback", "service list --js": "--json",
			} {
				cmd := exec.Command(path, "-c", script)
				cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "TERM=dumb", "LINE=" + line, asService + "=" + socket,
					"GORACE=atexit_sleep_ms=0"} // The race detector waits a second at the end of a program.
				out, err := cmd.CombinedOutput()
				got := strings.Fields(string(out))
				slices.Sort(got)
				if err != nil || strings.Join(got, " ") != want {
					t.Errorf("%q: %q, %v; want %q", line, out, err, want)
				}
			}
		})
	}
}
