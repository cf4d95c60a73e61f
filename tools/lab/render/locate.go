package render

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// place is a line of a file.
type place struct {
	file string
	line int
}

// at is an error with the place that it is about.
func at(p place, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if p.line > 0 {
		return fmt.Errorf("%s:%d: %w", p.file, p.line, err)
	}

	return fmt.Errorf("%s: %w", p.file, err)
}

// quoted finds the field in an error of Kubernetes' strict decoder, such as
// `unknown field "spec.replica"` and `cannot unmarshal … field DeploymentSpec.spec.replicas of type …`.
var quoted = regexp.MustCompile(`field "?(?:\S*\.)?([A-Za-z0-9_-]+)(?:\[\d+\])?(?:"| of type)`)

// lastField is the name of the field that a decoding error is about; "" if it does
// not say.
func lastField(err error) string {
	if match := quoted.FindStringSubmatch(err.Error()); match != nil {
		return match[1]
	}

	return ""
}

// locate finds where an object of an overlay is written: kustomize has forgotten
// lines by the time that an object is decoded, so the files that the overlay is
// built of are read once more. Without a better answer it is the overlay's own
// kustomization.yaml.
func locate(dir, kind, name, field string) place {
	fallback := place{file: filepath.Join(dir, "kustomization.yaml")}
	best := fallback
	for _, file := range sources(dir, map[string]bool{}) {
		for _, document := range documents(file) {
			object := child(document, "metadata")
			if scalar(document, "kind") != kind || scalar(object, "name") != name {
				continue
			}
			if line := lineOf(document, field); line > 0 {
				return place{file: file, line: line}
			}
			if best == fallback {
				best = place{file: file, line: document.Line}
			}
		}
	}

	return best
}

// sources lists the YAML files that a kustomization is built of, its own first.
func sources(dir string, seen map[string]bool) []string {
	if seen[filepath.Clean(dir)] {
		return nil
	}
	seen[filepath.Clean(dir)] = true
	own := filepath.Join(dir, "kustomization.yaml")
	files := []string{own}
	for _, document := range documents(own) {
		for _, list := range []string{"patches", "resources", "components"} {
			for _, entry := range items(child(document, list)) {
				path := entry.Value
				if entry.Kind == yaml.MappingNode {
					path = scalar(entry, "path")
				}
				path = filepath.Join(dir, path)
				if info, err := os.Stat(path); err != nil || path == dir {
					continue
				} else if info.IsDir() {
					files = append(files, sources(path, seen)...)
				} else {
					files = append(files, path)
				}
			}
		}
	}

	return files
}

// documents reads as many YAML documents of a file as can be read.
func documents(file string) []*yaml.Node {
	reader, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = reader.Close() }() // it was only read
	decoder := yaml.NewDecoder(io.LimitReader(reader, 16<<20))
	var roots []*yaml.Node
	for {
		var document yaml.Node
		if err := decoder.Decode(&document); err != nil || len(document.Content) == 0 {
			return roots
		}
		roots = append(roots, document.Content[0])
	}
}

// lineOf is the line of the first key of that name, anywhere below n; 0 if none.
func lineOf(n *yaml.Node, key string) int {
	for i, item := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && item.Value == key {
			return item.Line
		}
		if line := lineOf(item, key); line > 0 {
			return line
		}
	}

	return 0
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}

	return nil
}

func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}

	return n.Content
}

func scalar(n *yaml.Node, key string) string {
	if value := child(n, key); value != nil {
		return value.Value
	}

	return ""
}
