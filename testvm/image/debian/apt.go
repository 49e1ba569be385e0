package debian

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/progress"
)

// Freshness is how long package lists are used before the archive is asked again.
const Freshness = 24 * time.Hour

// Archive is Debian's archive for one architecture.
type Archive struct {
	Arch     string // in Debian's spelling, which for these is Go's
	CacheDir string
	Refresh  bool // ask the archive again even if the lists are fresh
	Progress progress.Progress

	dir       string // apt's own state
	store     cache.Store
	asked     bool      // the archive was asked in this run
	listsFrom time.Time // when the package lists were made
	listsErr  error
}

// open prepares apt's state below the cache folder.
func (a *Archive) open(ctx context.Context) error {
	if a.dir != "" {
		return nil
	}
	sources, err := HostSources("/etc/apt")
	if err != nil {
		return err
	}
	text := render(forArch(sources, a.Arch), a.Arch)
	// Each release of the host has its own state.
	dir := filepath.Join(a.CacheDir, "apt", a.Arch+"-"+cache.Key(text)[:12])
	for _, sub := range []string{"lists/partial", "archives/partial", "resolved"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("cannot make apt's cache: %w", err)
		}
	}
	conf := a.conf(dir) + hostAcquire(ctx)
	for name, data := range map[string]string{"debian.sources": text, "apt.conf": conf, "status": ""} {
		// The apt of another build may read the file meanwhile.
		if err := cache.WriteFile(filepath.Join(dir, name), []byte(data)); err != nil {
			return fmt.Errorf("cannot write apt's configuration: %w", err)
		}
	}
	a.dir = dir
	a.store = cache.Store{Dir: filepath.Join(a.CacheDir, "roots")}
	return nil
}

func (a *Archive) conf(dir string) string {
	return fmt.Sprintf(`APT::Architecture "%s";
APT::Architectures { "%s"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::State "%[3]s";
Dir::State::lists "%[3]s/lists";
Dir::State::status "%[3]s/status";
Dir::State::extended_states "%[3]s/extended_states";
Dir::Cache "%[3]s";
Dir::Cache::archives "%[3]s/archives";
Dir::Etc::sourcelist "%[3]s/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "%[3]s";
`, a.Arch, a.Arch, dir)
}

// hostAcquire returns the host's settings for downloads: proxies, checks.
func hostAcquire(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "Acquire").Output()
	if err != nil {
		return ""
	}
	var keep strings.Builder
	for line := range strings.Lines(string(out)) {
		for _, p := range []string{"http", "https", "Check-", "Retries", "ForceIPv", "Proxy"} {
			if strings.HasPrefix(line, "Acquire::"+p) {
				keep.WriteString(line)
				break
			}
		}
	}
	return keep.String()
}

// run runs a program of apt with the archive's configuration.
func (a *Archive) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, args[0], err, lastLines(stderr.String(), 4))
	}
	return stdout.String(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// resolved is the solution for a set of packages.
type resolved struct {
	Time     time.Time
	Packages []Package
}

// Resolve returns the packages that the asked ones need to run, and base-passwd. A fresh
// solution comes from the cache. If the archive cannot be reached, an older one does,
// and the progress reports it.
func (a *Archive) Resolve(ctx context.Context, asked []string) ([]Package, error) {
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	file := filepath.Join(a.dir, "resolved", cache.Key(append([]string{Version}, asked...)...)+".json")
	var known resolved
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &known) != nil {
		known = resolved{}
	}
	if len(known.Packages) > 0 && fresh(known.Time) && !(a.Refresh && !a.asked) {
		return known.Packages, nil
	}
	at, err := a.lists(ctx)
	if err != nil && len(known.Packages) > 0 {
		a.Progress.Note(fmt.Sprintf("cannot refresh Debian's package lists, using versions of %s (%v)",
			known.Time.Format(time.DateTime), err))
		return known.Packages, nil
	}
	if err != nil {
		return nil, err
	}
	packages, err := a.solve(ctx, asked)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve Debian packages %s for %s: %w", strings.Join(asked, ", "), a.Arch, err)
	}
	b, err := json.Marshal(resolved{at, packages})
	if err != nil {
		return nil, err
	}
	return packages, cache.WriteFile(file, b)
}

func fresh(t time.Time) bool {
	age := time.Since(t)
	return age >= 0 && age < Freshness
}

// lists updates the package lists once in a run if they are not fresh, and returns
// their time. If the archive cannot be reached, old lists are used.
func (a *Archive) lists(ctx context.Context) (time.Time, error) {
	if !a.asked {
		a.listsFrom, a.listsErr = a.update(ctx)
		a.asked = true
	}
	return a.listsFrom, a.listsErr
}

func (a *Archive) update(ctx context.Context) (time.Time, error) {
	unlock, err := cache.Lock(filepath.Join(a.dir, "lock"))
	if err != nil {
		return time.Time{}, err
	}
	defer unlock()
	stamp := filepath.Join(a.dir, "updated")
	old, statErr := os.Stat(stamp)
	if statErr == nil && fresh(old.ModTime()) && !a.Refresh {
		return old.ModTime(), nil
	}
	task := a.Progress.Start("reading Debian's package lists for " + a.Arch)
	_, err = a.run(ctx, "", "apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
	task.Done(err)
	switch {
	case err == nil:
		return time.Now(), os.WriteFile(stamp, nil, 0o644)
	case ctx.Err() == nil && statErr == nil:
		a.Progress.Note(fmt.Sprintf("cannot refresh Debian's package lists, using those of %s (%v)",
			old.ModTime().Format(time.DateTime), err))
		return old.ModTime(), nil
	}
	return time.Time{}, fmt.Errorf("cannot read Debian's package lists for %s: %w", a.Arch, err)
}

func (a *Archive) solve(ctx context.Context, asked []string) ([]Package, error) {
	out, err := a.run(ctx, "", "apt-get", append([]string{"install", "--simulate", "-q", passwdPackage}, asked...)...)
	if err != nil {
		return nil, err
	}
	versions := parseSolution(out)
	if len(versions) == 0 {
		return nil, errors.New("apt found nothing to install")
	}
	out, err = a.run(ctx, "", "apt-cache", append([]string{"show"}, versions...)...)
	if err != nil {
		return nil, err
	}
	var solution []Package
	for _, s := range ParseStanzas(out) {
		if slices.Contains(versions, s["package"]+"="+s["version"]) {
			solution = append(solution, fromStanza(s))
		}
	}
	packages := closure(asked, solution)
	for _, p := range solution {
		if p.Name == passwdPackage && !slices.Contains(asked, passwdPackage) {
			packages = append(packages, p) // without its dependencies
		}
	}
	return packages, nil
}

// Fetch downloads a package, verifies its digest and returns its file.
func (a *Archive) Fetch(ctx context.Context, p Package) (string, error) {
	file := filepath.Join(a.dir, "archives", p.Name+"_"+cache.Key(p.Name, p.Version, p.SHA256)[:16]+".deb")
	if cache.Check(file, p.SHA256) == nil {
		return file, nil
	}
	tmp, err := os.MkdirTemp(filepath.Join(a.dir, "archives"), "download-")
	if err != nil {
		return "", fmt.Errorf("cannot download %s: %w", p.Name, err)
	}
	defer os.RemoveAll(tmp)
	task := a.Progress.Start(fmt.Sprintf("downloading Debian package %s %s", p.Name, p.Version))
	_, err = a.run(ctx, tmp, "apt-get", "download", "-q", p.Name+"="+p.Version)
	task.Done(err)
	if err != nil {
		return "", fmt.Errorf("cannot download Debian package %s %s (has it been replaced? --refresh looks for newer versions): %w", p.Name, p.Version, err)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("cannot download Debian package %s %s: apt left %d files", p.Name, p.Version, len(debs))
	}
	if err := cache.Check(debs[0], p.SHA256); err != nil {
		return "", fmt.Errorf("cannot use Debian package %s %s: %w", p.Name, p.Version, err)
	}
	return file, os.Rename(debs[0], file)
}

// Tool returns the path of a program of the host. It also looks in the folders that only
// root's PATH contains.
func Tool(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, program))
		}
	}
	if err != nil {
		return "", fmt.Errorf("cannot find program %s", program)
	}
	return path, nil
}
