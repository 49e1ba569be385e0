package main

import (
	"encoding"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"keelson/services/control"
)

// apiDocument is what the test needs of docs/api.yaml.
type apiDocument struct {
	OpenAPI string `yaml:"openapi"`
	Paths   map[string]map[string]any
	Parts   struct {
		Schemas map[string]schema
	} `yaml:"components"`
	all map[string]any
}

type schema struct {
	Type       string
	Ref        string `yaml:"$ref"`
	Required   []string
	Properties map[string]schema
	Items      *schema
	Format     string
}

// docs/api.yaml has the operations of the server with their parameters, bodies and
// responses, and no others; its schemas are those of the types that are encoded.
func TestAPIDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/api.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc apiDocument
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &doc.all); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("openapi: %s", doc.OpenAPI)
	}
	undocumented := doc.operations()
	used := map[string]bool{"Problem": true, "Difference": true} // Problem is in every default response.
	for _, route := range api(nil, nil, nil, nil, nil, nil).Routes() {
		name := route.Method + " " + route.Path
		operation, ok := doc.Paths[route.Path][strings.ToLower(route.Method)].(map[string]any)
		if !ok {
			t.Errorf("%s is not in the document", name)
			continue
		}
		delete(undocumented, name)
		if got, want := doc.parameters(route.Path, operation), parametersOf(route); !slices.Equal(got, want) {
			t.Errorf("%s: the document has the parameters %q, the server %q", name, got, want)
		}
		if got, want := fmt.Sprint(operation["security"]), fmt.Sprintf("[map[gate:[%s]]]", route.Role); got != want {
			t.Errorf("%s: the document has the security %s, the server %s", name, got, want)
		}
		doc.checkContent(t, name+": body", operation["requestBody"], route.Body, used)
		responses, _ := operation["responses"].(map[string]any)
		status := "200"
		switch route.Answer.(type) {
		case nil:
			status = "204"
		case control.WebSocket:
			status = "101"
		}
		if got := slices.Sorted(maps.Keys(responses)); !slices.Equal(got, []string{status, "default"}) {
			t.Errorf("%s: the document has the responses %q, want %s and default", name, got, status)
			continue
		}
		doc.checkContent(t, name+": response", responses[status], route.Answer, used)
		if events := doc.content(responses[status])["text/event-stream"] != nil; events != route.Events {
			t.Errorf("%s: the document has server-sent events: %v, the server: %v", name, events, route.Events)
		}
	}
	for name := range undocumented {
		t.Errorf("the server has no %s", name)
	}
	for name := range doc.Parts.Schemas {
		if !used[name] {
			t.Errorf("no operation uses schema %s", name)
		}
	}
}

// Each operation has a role, and only those that change nothing are for readers.
func TestRoles(t *testing.T) {
	for _, route := range api(nil, nil, nil, nil, nil, nil).Routes() {
		if !slices.Contains(control.Roles(), route.Role.String()) {
			t.Errorf("%s %s has no role", route.Method, route.Path)
		}
		if route.Method != http.MethodGet && route.Role.May(control.Reader) && !route.Role.May(control.Operator) {
			t.Errorf("%s %s is for readers", route.Method, route.Path)
		}
	}
}

// operations returns the names of all operations.
func (doc *apiDocument) operations() map[string]bool {
	all := map[string]bool{}
	for path, item := range doc.Paths {
		for key := range item {
			if key != "parameters" {
				all[strings.ToUpper(key)+" "+path] = true
			}
		}
	}
	return all
}

// resolve follows a reference within the document.
func (doc *apiDocument) resolve(v any) map[string]any {
	m, _ := v.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = doc.all
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, _ := at.(map[string]any)
		at = m[part]
	}
	return doc.resolve(at)
}

func (doc *apiDocument) parameters(path string, operation map[string]any) []string {
	var names []string
	for _, list := range []any{doc.Paths[path]["parameters"], operation["parameters"]} {
		parameters, _ := list.([]any)
		for _, p := range parameters {
			parameter := doc.resolve(p)
			name, _ := parameter["name"].(string)
			where, _ := parameter["in"].(string)
			names = append(names, where+" "+name)
		}
	}
	slices.Sort(names)
	return names
}

func parametersOf(route control.Route) []string {
	var names []string
	for _, name := range route.Query {
		names = append(names, "query "+name)
	}
	for part := range strings.SplitSeq(route.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, "path "+strings.TrimSuffix(name, "}"))
		}
	}
	slices.Sort(names)
	return names
}

// content returns the contents of a body or response by their media types.
func (doc *apiDocument) content(v any) map[string]any {
	content, _ := doc.resolve(v)["content"].(map[string]any)
	return content
}

func (doc *apiDocument) checkContent(t *testing.T, name string, v, value any, used map[string]bool) {
	t.Helper()
	content := doc.content(v)
	media := "application/json"
	switch v := value.(type) {
	case nil, control.WebSocket:
		if len(content) > 0 {
			t.Errorf("%s: the document has one, the server has none", name)
		}
		return
	case control.Stream:
		media = "application/octet-stream"
	case control.Text:
		media = "application/openmetrics-text"
	case control.Lines:
		media, value = "application/x-ndjson", v.Line
	}
	entry, ok := content[media].(map[string]any)
	if !ok {
		t.Errorf("%s: the document has no %s", name, media)
		return
	}
	if _, ok := entry["schema"]; !ok && media != "application/json" {
		return
	}
	ref, _ := entry["schema"].(map[string]any)["$ref"].(string)
	doc.checkSchema(t, name, schema{Ref: ref}, reflect.TypeOf(value), used)
}

// checkSchema compares a schema with the type that is encoded.
func (doc *apiDocument) checkSchema(t *testing.T, name string, s schema, of reflect.Type, used map[string]bool) {
	t.Helper()
	if s.Ref != "" {
		part := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		if used[part] = true; doc.Parts.Schemas[part].Type == "" {
			t.Errorf("%s: the document has no schema %s", name, part)
		}
		name += " " + part
		s = doc.Parts.Schemas[part]
	}
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if want := typeName(of); s.Type != want {
		t.Errorf("%s: the document has %q, the server %s", name, s.Type, want)
		return
	}
	switch s.Type {
	case "array":
		doc.checkSchema(t, name, *s.Items, of.Elem(), used)
	case "object":
		if of.Kind() == reflect.Struct {
			doc.checkMembers(t, name, s, of, used)
		}
	case "string":
		if isTime := of == reflect.TypeFor[time.Time](); isTime != (s.Format == "date-time") {
			t.Errorf("%s: format %q", name, s.Format)
		}
	}
}

func (doc *apiDocument) checkMembers(t *testing.T, name string, s schema, of reflect.Type, used map[string]bool) {
	t.Helper()
	var members, required []string
	for field := range of.Fields() {
		member, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if member == "-" {
			continue
		}
		members = append(members, member)
		if !strings.HasPrefix(options, "omit") {
			required = append(required, member)
		}
		if p, ok := s.Properties[member]; ok {
			doc.checkSchema(t, name+"."+member, p, field.Type, used)
		}
	}
	if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, slices.Sorted(slices.Values(members))) {
		t.Errorf("%s: the document has %q, the server %q", name, got, members)
	}
	if !slices.Equal(slices.Sorted(slices.Values(s.Required)), slices.Sorted(slices.Values(required))) {
		t.Errorf("%s: the document requires %q, the server always sends %q", name, s.Required, required)
	}
}

// typeName returns the type of JSON Schema that encoding/json makes of a type.
func typeName(of reflect.Type) string {
	switch {
	case of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return "string"
	case of.Kind() == reflect.Struct || of.Kind() == reflect.Map:
		return "object"
	case of.Kind() == reflect.Slice:
		return "array"
	case of.Kind() == reflect.String:
		return "string"
	case of.Kind() == reflect.Bool:
		return "boolean"
	case of.Kind() == reflect.Float64:
		return "number"
	}
	return "integer"
}
