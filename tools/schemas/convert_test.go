package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// document has one kind, put together from every construction that Kubernetes'
// own document uses.
const document = `{"definitions": {
	"io.k8s.api.toys.v1.Widget": {
		"description": "Widget is a toy.",
		"type": "object",
		"required": ["spec"],
		"properties": {
			"apiVersion": {"type": "string"},
			"kind": {"type": "string"},
			"metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
			"spec": {"$ref": "#/definitions/io.k8s.api.toys.v1.WidgetSpec", "default": {}}
		},
		"x-kubernetes-group-version-kind": [{"group": "toys.k8s.io", "version": "v1", "kind": "Widget"}]
	},
	"io.k8s.api.toys.v1.WidgetSpec": {
		"type": "object",
		"properties": {
			"size": {"type": "integer", "format": "int32"},
			"round": {"type": "boolean"},
			"memory": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"},
			"port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
			"limits": {"type": "object", "additionalProperties": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"}},
			"raw": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.runtime.RawExtension"},
			"parts": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"$ref": "#/definitions/io.k8s.api.toys.v1.WidgetSpec"}}
		}
	},
	"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
		"type": "object",
		"properties": {"name": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}}
	},
	"io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
	"io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions": {
		"type": "object",
		"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "DeleteOptions"}, {"group": "toys.k8s.io", "version": "v1", "kind": "DeleteOptions"}]
	}
}}`

const widget = "apiVersion: toys.k8s.io/v1\nkind: Widget\n"

func TestASchemaAcceptsWhatTheAPIAccepts(t *testing.T) {
	t.Parallel()
	check := checker(t)
	for name, spec := range map[string]string{
		"an empty object":               "{}",
		"each scalar":                   "{size: 3, round: true}",
		"a quantity with a suffix":      "{memory: 64Mi}",
		"a quantity in milli":           "{memory: 50m}",
		"a quantity with a fraction":    "{memory: '1.5'}",
		"a quantity with an exponent":   "{memory: 12e6}",
		"a quantity that is a number":   "{memory: 1}",
		"a port by number":              "{port: 8081}",
		"a port by name":                "{port: grpc}",
		"a map with any keys":           "{limits: {cpu: '1', example.com/gpu: 2}}",
		"an object of unknown contents": "{raw: {anything: [goes]}}",
		"an object within its like":     "{parts: [{size: 1, parts: [{size: 2}]}]}",
	} {
		if err := check(widget + "metadata: {name: w, labels: {a: b}}\nspec: " + spec); err != nil {
			t.Errorf("%s was refused: %v", name, err)
		}
	}
}

func TestASchemaRefusesWhatTheAPIRefuses(t *testing.T) {
	t.Parallel()
	check := checker(t)
	for name, test := range map[string]struct{ manifest, want string }{
		"an unknown field":             {widget + "spec: {seize: 3}", "additional properties 'seize' not allowed"},
		"an unknown field at the top":  {widget + "spec: {}\nspecs: {}", "additional properties 'specs' not allowed"},
		"an unknown field deep within": {widget + "spec: {parts: [{parts: [{seize: 1}]}]}", "additional properties 'seize' not allowed"},
		"a field that is missing":      {widget, "missing property 'spec'"},
		"a kind that is missing":       {"apiVersion: toys.k8s.io/v1\nspec: {}", "missing property 'kind'"},
		"another version":              {"apiVersion: toys.k8s.io/v1beta1\nkind: Widget\nspec: {}", "apiVersion"},
		"text for a number":            {widget + "spec: {size: '3'}", "want integer"},
		"a number for text":            {widget + "metadata: {name: 3}\nspec: {}", "want string"},
		"a quantity with a space":      {widget + "spec: {memory: 64 Mi}", "does not match pattern"},
		"a quantity in a wrong unit":   {widget + "spec: {memory: 64MB}", "does not match pattern"},
		"a wrong value within a map":   {widget + "spec: {limits: {cpu: [1]}}", "/spec/limits/cpu"},
		"a list for a port":            {widget + "spec: {port: [1]}", "/spec/port"},
	} {
		err := check(test.manifest)
		if err == nil {
			t.Errorf("%s was accepted", name)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error lacks %q: %v", name, test.want, err)
		}
	}
}

func TestOnlyObjectsThatOneAppliesHaveASchema(t *testing.T) {
	t.Parallel()
	files, err := convert([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files["widget-toys-v1.json"] == nil {
		t.Errorf("got %d files, want widget-toys-v1.json alone", len(files))
	}
}

func TestAFileIsNamedAsKubeconformAsks(t *testing.T) {
	t.Parallel()
	for want, gvk := range map[string]groupVersionKind{
		"service-v1.json":                    {"", "v1", "Service"},
		"deployment-apps-v1.json":            {"apps", "v1", "Deployment"},
		"role-rbac-v1.json":                  {"rbac.authorization.k8s.io", "v1", "Role"},
		"poddisruptionbudget-policy-v1.json": {"policy", "v1", "PodDisruptionBudget"},
	} {
		if got := fileName(gvk); got != want {
			t.Errorf("fileName(%v) = %q, want %q", gvk, got, want)
		}
	}
}

func TestADocumentThatIsNotOpenAPIIsRefused(t *testing.T) {
	t.Parallel()
	kind := `"x-kubernetes-group-version-kind": [{"version": "v1", "kind": "A"}]`
	for name, test := range map[string]struct{ document, want string }{
		"no JSON":              {"<html>", "OpenAPI document"},
		"no definitions":       {"{}", "no definitions"},
		"a null definition":    {`{"definitions": {"a": null}}`, `"a" is null`},
		"a dangling reference": {`{"definitions": {"a": {"items": {"$ref": "#/definitions/b"}, ` + kind + `}}}`, `refers to "#/definitions/b"`},
		"a foreign reference":  {`{"definitions": {"a": {"items": {"$ref": "https://example.com/b"}, ` + kind + `}}}`, "example.com"},
		"one kind twice":       {`{"definitions": {"a": {` + kind + `}, "b": {` + kind + `}}}`, "a-v1.json"},
	} {
		if _, err := convert([]byte(test.document)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, test.want)
		}
	}
}

func TestTheDocumentIsReadOnceForACache(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "new", "cache")
	reads := 0
	read := func(context.Context) ([]byte, error) {
		reads++

		return []byte(document), nil
	}
	for range 2 {
		folder, err := ensure(t.Context(), cache, read)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(folder, "widget-toys-v1.json")); err != nil {
			t.Error(err)
		}
	}
	if reads != 1 {
		t.Errorf("the document was read %d times, want once", reads)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 1 {
		t.Errorf("the cache has %v (error %v), want the schemas alone", left, err)
	}
}

func TestAFailureLeavesNoSchemas(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	broken := errors.New("no network")
	_, err := ensure(t.Context(), cache, func(context.Context) ([]byte, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 0 {
		t.Errorf("the cache has %v (error %v), want nothing", left, err)
	}
}

func TestACacheThatIsAFileIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ensure(t.Context(), file, func(context.Context) ([]byte, error) { return []byte(document), nil })
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got error %v, want one that names %s", err, file)
	}
}

func FuzzADocumentIsConvertedOrRefused(f *testing.F) {
	f.Add([]byte(document))
	f.Add([]byte(`{"definitions": {"a": {"properties": {"b": null}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		files, err := convert(text)
		if err != nil {
			return
		}
		for name, file := range files {
			if _, err := jsonschema.UnmarshalJSON(bytes.NewReader(file)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// checker compiles the schema of a widget with the library that kubeconform uses,
// and returns a function that checks a manifest.
func checker(t *testing.T) func(manifest string) error {
	t.Helper()
	files, err := convert([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(files["widget-toys-v1.json"]))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("widget.json", parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("widget.json")
	if err != nil {
		t.Fatal(err)
	}

	return func(manifest string) error {
		var object any
		if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
			t.Fatal(err)
		}

		return compiled.Validate(object)
	}
}
