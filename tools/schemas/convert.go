package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const refPrefix = "#/definitions/"

// schema is the part of JSON Schema that both Kubernetes' OpenAPI document and
// its checker need. What a checker has no use for (descriptions, defaults, merge
// strategies) is not decoded, and so left out of what is written.
type schema struct {
	Dialect     string             `json:"$schema,omitempty"`
	Definitions map[string]*schema `json:"definitions,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Type        any                `json:"type,omitempty"` // a name or several
	Pattern     string             `json:"pattern,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Additional  *schema            `json:"additionalProperties,omitempty"`

	// never is the schema `false`, which nothing satisfies.
	never bool
}

// groupVersionKind is what apiVersion and kind say.
type groupVersionKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// definition is a schema with a name in the OpenAPI document.
type definition struct {
	schema
	Kinds []groupVersionKind `json:"x-kubernetes-group-version-kind"`
}

// convert turns Kubernetes' OpenAPI v2 document into one JSON schema for each
// kind, under the name that kubeconform's {{.ResourceKind}}{{.KindSuffix}}.json
// asks for, such as deployment-apps-v1.json.
//
// The schemas are stricter than the document: an object may have no field
// that is not listed. They are also more lenient in the two places where the API
// takes more than the document says: a quantity may be a number, and so may an
// int-or-string.
func convert(openAPI []byte) (map[string][]byte, error) {
	var document struct {
		Definitions map[string]*definition `json:"definitions"`
	}
	if err := json.Unmarshal(openAPI, &document); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	if len(document.Definitions) == 0 {
		return nil, errors.New("OpenAPI document: it has no definitions")
	}
	for name, d := range document.Definitions {
		if d == nil {
			return nil, fmt.Errorf("OpenAPI document: definition %q is null", name)
		}
		tighten(name, &d.schema)
	}

	files := make(map[string][]byte)
	for name, d := range document.Definitions {
		// DeleteOptions and WatchEvent belong to every group: they are parts of
		// the protocol, not objects that one applies.
		if len(d.Kinds) != 1 {
			continue
		}
		file := fileName(d.Kinds[0])
		if _, twice := files[file]; twice {
			return nil, fmt.Errorf("OpenAPI document: two definitions, one of them %q, are both %s", name, file)
		}
		encoded, err := encode(d, document.Definitions)
		if err != nil {
			return nil, fmt.Errorf("OpenAPI document: definition %q: %w", name, err)
		}
		files[file] = encoded
	}

	return files, nil
}

// tighten closes the objects of a definition and opens up the two types whose
// JSON can be of two sorts.
func tighten(name string, s *schema) {
	switch {
	case strings.HasSuffix(name, ".intstr.IntOrString"):
		s.Type = []string{"integer", "string"}
	case strings.HasSuffix(name, ".resource.Quantity"):
		s.Type = []string{"number", "string"}
		// The grammar in the description of the type.
		s.Pattern = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$`
	default:
		s.each(func(part *schema) {
			if len(part.Properties) > 0 && part.Additional == nil {
				part.Additional = &schema{never: true}
			}
		})
	}
}

// encode writes the schema of a kind and the definitions within its reach. They
// stay definitions, for some contain themselves (JSONSchemaProps does).
func encode(d *definition, all map[string]*definition) ([]byte, error) {
	out := d.schema
	out.Dialect = "http://json-schema.org/draft-07/schema#"
	out.Definitions = make(map[string]*schema)
	gvk := d.Kinds[0]
	out.Properties = maps.Clone(d.Properties)
	if out.Properties == nil {
		out.Properties = make(map[string]*schema)
	}
	out.Properties["apiVersion"] = &schema{Enum: []string{apiVersion(gvk)}}
	out.Properties["kind"] = &schema{Enum: []string{gvk.Kind}}
	out.Required = append(slices.Clone(d.Required), "apiVersion", "kind")

	var reach func(*schema) error
	reach = func(s *schema) error {
		var failed error
		s.each(func(part *schema) {
			name, isRef := strings.CutPrefix(part.Ref, refPrefix)
			if part.Ref == "" || failed != nil {
				return
			}
			target, known := all[name]
			if !isRef || !known {
				failed = fmt.Errorf("it refers to %q, which does not exist", part.Ref)

				return
			}
			if _, seen := out.Definitions[name]; !seen {
				out.Definitions[name] = &target.schema
				failed = reach(&target.schema)
			}
		})

		return failed
	}
	if err := reach(&out); err != nil {
		return nil, err
	}

	return json.Marshal(&out)
}

// each calls f for the schema and for all within it.
func (s *schema) each(f func(*schema)) {
	if s == nil {
		return
	}
	f(s)
	for _, property := range s.Properties {
		property.each(f)
	}
	s.Items.each(f)
	s.Additional.each(f)
}

func fileName(gvk groupVersionKind) string {
	group, _, _ := strings.Cut(gvk.Group, ".")
	parts := []string{gvk.Kind, group, gvk.Version}
	if group == "" {
		parts = []string{gvk.Kind, gvk.Version}
	}

	return strings.ToLower(strings.Join(parts, "-")) + ".json"
}

func apiVersion(gvk groupVersionKind) string {
	if gvk.Group == "" {
		return gvk.Version
	}

	return gvk.Group + "/" + gvk.Version
}

// MarshalJSON is for the schema false.
func (s *schema) MarshalJSON() ([]byte, error) {
	if s.never {
		return []byte("false"), nil
	}
	type plain schema

	return json.Marshal((*plain)(s))
}
