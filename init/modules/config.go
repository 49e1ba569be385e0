package modules

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keelson/runtime/depmod"
)

// configDirs are the folders of modprobe.d(5); the first one has precedence.
var configDirs = []string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"}

// off is the module name of aliases that disable something.
const off = "off"

// Config is the configuration in modprobe.d and on the kernel command line.
type Config struct {
	Blacklist map[string]bool
	Options   map[string][]string
	aliases   []depmod.Alias
	installs  []install
	soft      map[string]depmod.Soft
}

// install is a command that runs in place of inserting the modules that match.
type install struct{ pattern, command string }

func newConfig() Config {
	return Config{Blacklist: make(map[string]bool), Options: make(map[string][]string), soft: make(map[string]depmod.Soft)}
}

// configFiles returns the files *.conf of dirs, sorted by name. A file masks files of the
// same name in later folders. One that is no regular file, such as a link to /dev/null,
// masks others and is not read.
func configFiles(dirs []string) []string {
	byName := make(map[string]string)
	for _, dir := range slices.Backward(dirs) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.conf")) // The pattern is right.
		for _, f := range files {
			byName[filepath.Base(f)] = f
		}
	}
	var files []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if info, err := os.Stat(byName[name]); err == nil && info.Mode().IsRegular() {
			files = append(files, byName[name])
		}
	}
	return files
}

// read adds the configuration files in dirs.
func (c *Config) read(dirs []string) error {
	var errs []error
	for _, f := range configFiles(dirs) {
		errs = append(errs, with(f, false, c.parse))
	}
	return errors.Join(errs...)
}

// parse parses a file of modprobe.d(5): alias, blacklist, install, options and
// softdep. Other commands are skipped. A backslash at the end of a line
// continues it on the next.
func (c *Config) parse(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	line := ""
	for s.Scan() {
		part, more := strings.CutSuffix(s.Text(), `\`)
		line += part
		if !more || len(line) > 1<<20 {
			c.command(line)
			line = ""
		}
	}
	c.command(line)
	return s.Err()
}

// blanks separate words, as in kmod's own parser.
const blanks = " \t"

// command adds one command with its arguments.
func (c *Config) command(line string) {
	f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(blanks, r) })
	if len(f) < 2 || strings.HasPrefix(f[0], "#") {
		return
	}
	name := depmod.Normal(f[1])
	switch {
	case f[0] == "blacklist":
		c.Blacklist[name] = true
	case len(f) < 3:
	case f[0] == "alias":
		c.aliases = append(c.aliases, depmod.Alias{Pattern: f[1], Module: depmod.Normal(f[2])})
	case f[0] == "install":
		c.installs = append(c.installs, install{pattern: f[1], command: after(line, 2)})
	case f[0] == "options":
		c.Options[name] = append(slices.Clip(c.Options[name]), after(line, 2))
	case f[0] == "softdep":
		c.soft[name] = c.soft[name].With(f[2:])
	}
}

// after returns line without its first n words; blanks between the others stay.
func after(line string, n int) string {
	for range n {
		line = strings.TrimLeft(line, blanks)
		i := strings.IndexAny(line, blanks)
		if i < 0 {
			return ""
		}
		line = line[i:]
	}
	return strings.Trim(line, blanks)
}

// alias returns the modules that the configuration has for an alias or name and reports
// whether it has an entry. The module "off" stands for none.
func (c *Config) alias(text string) (modules []string, found bool) {
	for _, a := range c.aliases {
		if !match(a.Pattern, text) {
			continue
		}
		found = true
		if a.Module != off && !slices.Contains(modules, a.Module) {
			modules = append(modules, a.Module)
		}
	}
	return modules, found
}

// installCommand returns the command that takes the place of inserting a module.
func (c *Config) installCommand(module string) (string, bool) {
	for _, i := range c.installs {
		if match(i.pattern, module) {
			return i.command, true
		}
	}
	return "", false
}

// Param adds a parameter of the kernel command line: modprobe.blacklist=a,b
// or MODULE.OPTION=VALUE.
func (c *Config) Param(name, value string, set bool) {
	if name == "modprobe.blacklist" || name == "module_blacklist" {
		for m := range strings.SplitSeq(value, ",") {
			c.Blacklist[depmod.Normal(m)] = true
		}
		return
	}
	module, option, ok := strings.Cut(name, ".")
	if !ok || module == "" || option == "" {
		return
	}
	if set {
		option += "=" + quoted(value)
	}
	c.Options[depmod.Normal(module)] = append(c.Options[depmod.Normal(module)], option)
}

func quoted(value string) string {
	if strings.ContainsAny(value, " \t") {
		return `"` + value + `"`
	}
	return value
}
