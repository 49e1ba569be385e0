package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Resources are the limits of the OCI runtime specification, with blockIO also
// in LinuxKit's spelling, blockio.
type Resources struct{ specs.LinuxResources }

// OCI returns the limits, nil if r is nil.
func (r *Resources) OCI() specs.LinuxResources {
	if r == nil {
		return specs.LinuxResources{}
	}
	return r.LinuxResources
}

// UnmarshalYAML decodes via JSON, because the specification's types embed structs in a
// way that the YAML package does not support.
func (r *Resources) UnmarshalYAML(n ast.Node) error {
	var v map[string]any
	if err := yaml.NodeToValue(n, &v); err != nil {
		return err
	}
	if b, ok := v["blockio"]; ok {
		v["blockIO"] = b
		delete(v, "blockio")
	}
	b, err := json.Marshal(v)
	if err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r.LinuxResources); err != nil {
		return jsonError(n, err)
	}
	return nil
}

// jsonError finds the position in n of the field that an error is about.
func jsonError(n ast.Node, err error) error {
	message := strings.TrimPrefix(err.Error(), "json: ")
	field, _ := strings.CutPrefix(message, "unknown field ")
	field = strings.Trim(field, `"`)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		field = wrong.Field[strings.LastIndex(wrong.Field, ".")+1:]
		message = fmt.Sprintf("%s is needed, not a %s", wrong.Type, wrong.Value)
	}
	key := &keyFinder{name: field, at: n.GetToken()}
	ast.Walk(key, n)
	return &yaml.SyntaxError{Message: message, Token: key.at}
}

type keyFinder struct {
	name string
	at   *token.Token
}

func (k *keyFinder) Visit(n ast.Node) ast.Visitor {
	if v, ok := n.(*ast.MappingValueNode); ok && v.Key.GetToken().Value == k.name {
		k.at = v.Key.GetToken()
	}
	return k
}
