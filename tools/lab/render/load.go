package render

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load finds and renders an overlay: a name in root or a path, as Find takes it, and after it any number of components,
// as in endpointslice+retries+keepalive. They are the folders in components, beside root. An overlay with components is
// in a namespace of its own, named after all of them.
func Load(root, name string) (*Overlay, error) {
	overlay, components, has := strings.Cut(name, "+")
	if !has {
		dir, err := Find(root, name)
		if err != nil {
			return nil, err
		}

		return Render(dir)
	}
	dir, err := Find(root, overlay)
	if err != nil {
		return nil, err
	}
	parts := []string{dir}
	beside := filepath.Join(filepath.Dir(filepath.Clean(root)), "components")
	for component := range strings.SplitSeq(components, "+") {
		known := Names(beside)
		if !slices.Contains(known, component) {
			return nil, fmt.Errorf("overlay %q: there is no component %q: give one of %s", name, component, strings.Join(known, ", "))
		}
		parts = append(parts, filepath.Join(beside, component))
	}
	o, err := together(filepath.Base(overlay)+"-"+strings.ReplaceAll(components, "+", "-"), parts)
	if err != nil {
		return nil, fmt.Errorf("overlay %q: %w", name, err)
	}
	o.Name = name

	return o, nil
}

// together renders an overlay, the first of parts, with components, by a kustomization that somebody would write who
// does not want to change the overlay.
func together(namespace string, parts []string) (o *Overlay, err error) {
	temp, err := os.MkdirTemp("", "lab-overlay-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	// kustomize takes no absolute paths, and looks behind symbolic links.
	from, err := filepath.EvalSymlinks(temp)
	if err != nil {
		return nil, err
	}
	for i, part := range parts {
		to, err := filepath.Abs(part)
		if err == nil {
			to, err = filepath.EvalSymlinks(to)
		}
		if err == nil {
			parts[i], err = filepath.Rel(from, to)
		}
		if err != nil {
			return nil, err
		}
	}
	text, err := yaml.Marshal(map[string]any{"namespace": namespace, "resources": parts[:1], "components": parts[1:]})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(temp, "kustomization.yaml"), text, 0o600); err != nil {
		return nil, err
	}

	return Render(temp)
}
