package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	verbs "keelson/services/cli"
	"keelson/services/gate/endpoint"
	"keelson/services/gate/keys"
)

// ctlCmd controls a machine. Its options come before the verb.
type ctlCmd struct {
	Endpoint   string `env:"KEELSON_CTL_ENDPOINT" help:"Where the gate is: tcp://HOST:PORT, vsock://CID:PORT, or unix:PATH for the socket of a virtio-serial port." placeholder:"ADDRESS"`
	Keys       string `type:"path" default:"keys" env:"KEELSON_CTL_KEYS" help:"Folder of the authority (default: ${default})." placeholder:"DIR"`
	As         string `default:"admin" env:"KEELSON_CTL_AS" help:"Client whose certificate in the folder is used (default: ${default})." placeholder:"NAME"`
	CA         string `name:"ca" type:"path" env:"KEELSON_CTL_CA" help:"Certificate of the authority, instead of that in the folder." placeholder:"FILE"`
	Cert       string `type:"path" env:"KEELSON_CTL_CERT" help:"Certificate of the client, instead of that in the folder." placeholder:"FILE"`
	Key        string `type:"path" env:"KEELSON_CTL_KEY" help:"Its key." placeholder:"FILE"`
	ServerName string `env:"KEELSON_CTL_SERVER_NAME" help:"Name in the gate's certificate, if it is another than the host's." placeholder:"NAME"`
	Config     string `type:"path" env:"KEELSON_CTL_CONFIG" help:"File with endpoints (default: keelson/ctl.yml in the user's folder of configuration)." placeholder:"FILE"`
	On         string `env:"KEELSON_CTL_ON" help:"Endpoint of that file (default: its current one)." placeholder:"NAME"`

	Make keysCmd `cmd:"" name:"keys" help:"Make the certificates of a gate and of its clients."`
	Verb verbCmd `cmd:"" name:"verb" default:"withargs" help:"One of the verbs of service, with its options and arguments: keelson ctl help shows them."`
}

// verbCmd is a verb of the command line of machines.
type verbCmd struct {
	Args []string `arg:"" passthrough:"" name:"verb" help:"A verb and its arguments."`
}

// exitStatus is the end of the program after a message, or without one.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Run carries out a verb.
func (v *verbCmd) Run(ctx context.Context, c *ctlCmd) error {
	app := &verbs.App{Name: "keelson ctl", In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	if v.Args[0] != "help" && !slices.Contains(v.Args, "--help") && !slices.Contains(v.Args, "-h") { // These need no machine.
		config, err := c.endpoint()
		if err != nil {
			return err
		}
		client, closer, err := endpoint.Open(config)
		if err != nil {
			return err
		}
		defer closer()
		app.Client = client
	}
	if status := app.Run(ctx, v.Args); status != 0 {
		return exitStatus(status)
	}
	return nil
}

// contextFile is a file with endpoints.
type contextFile struct {
	Current   string                  `yaml:"current"`
	Endpoints map[string]endpointFile `yaml:"endpoints"`
}

// endpointFile is one of them. Paths are relative to the file.
type endpointFile struct {
	Endpoint   string `yaml:"endpoint"`
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server-name"`
}

// endpoint returns what options and environment say, else the file, else the folder of keys.
func (c *ctlCmd) endpoint() (endpoint.Config, error) {
	named, err := c.named()
	if err != nil {
		return endpoint.Config{}, err
	}
	files := keys.FilesOf(c.Keys, c.As)
	config := endpoint.Config{
		Address:    cmp.Or(c.Endpoint, named.Endpoint),
		CA:         cmp.Or(c.CA, named.CA, files.CA),
		Cert:       cmp.Or(c.Cert, named.Cert, files.Cert),
		Key:        cmp.Or(c.Key, named.Key, files.Key),
		ServerName: cmp.Or(c.ServerName, named.ServerName),
	}
	if config.Address == "" {
		return config, errors.New("cannot reach a machine: no endpoint is named: give --endpoint, set KEELSON_CTL_ENDPOINT, or write a file with endpoints (docs/gate.md)")
	}
	return config, nil
}

// named returns the endpoint of the file that is asked for. Without a file, and without a question
// for one, it is empty; so it is when the options name an endpoint of their own.
func (c *ctlCmd) named() (endpointFile, error) {
	path := c.Config
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil && c.On != "" {
			return endpointFile{}, fmt.Errorf("cannot find the file with endpoints: %w", err)
		}
		path = filepath.Join(dir, "keelson", "ctl.yml")
	}
	if c.Endpoint != "" && c.On == "" {
		return endpointFile{}, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && c.Config == "" && c.On == "" {
		return endpointFile{}, nil
	}
	if err != nil {
		return endpointFile{}, fmt.Errorf("cannot read the file with endpoints: %w", err)
	}
	return find(path, text, c.On)
}

// find returns an endpoint of a file, by default its current one.
func find(path string, text []byte, name string) (endpointFile, error) {
	var file contextFile
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&file); err != nil {
		return endpointFile{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	name = cmp.Or(name, file.Current)
	e, ok := file.Endpoints[name]
	if !ok {
		return e, fmt.Errorf("%s has no endpoint %q; it has: %s", path, name, strings.Join(slices.Sorted(maps.Keys(file.Endpoints)), ", "))
	}
	for _, f := range []*string{&e.CA, &e.Cert, &e.Key} {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(filepath.Dir(path), *f)
		}
	}
	return e, nil
}
