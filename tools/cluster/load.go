//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/evenkeel/evenkeel/tools/cluster/image"
)

type loadCommand struct {
	Programs []string `arg:"" optional:"" help:"What to load: services, by the names of their folders in services/, or jaeger. Default: the services that kustomize/base has an image of."`
}

func (l loadCommand) Run(ctx context.Context, c *cluster) error {
	r, err := c.running()
	if err != nil {
		return err
	}
	source, err := c.sourceTree()
	if err != nil {
		return err
	}
	services, err := images(filepath.Join(source, "kustomize", "base"))
	if err != nil {
		return err
	}
	others, err := images(filepath.Join(source, "deploy", "observability", "jaeger"))
	if err != nil {
		return err
	}
	programs, err := choose(services, others, l.Programs)
	if err != nil {
		return err
	}
	for _, name := range programs {
		p := program{name: name, folder: source, path: "./services/" + name, ref: services[name]}
		if p.ref == "" {
			// Its module is of its own, for what it needs is no concern of the suite's.
			p = program{name: name, folder: filepath.Join(source, "tools", name), path: jaegerPath, ref: others[name]}
			fmt.Fprintf(os.Stderr, "building %s (some five minutes the first time)\n", name)
		}
		if err := c.load(ctx, r, p); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "loaded %s\n", p.ref)
	}

	return nil
}

// jaegerPath is Jaeger's program, of the module that tools/jaeger names the version of.
const jaegerPath = "github.com/jaegertracing/jaeger/cmd/jaeger"

// program is what an image is made of.
type program struct {
	name string
	// folder is where path is built, a package of Go.
	folder, path string
	// ref is the image's name and tag.
	ref string
}

// images are those that the kustomization of a folder names.
func images(folder string) (map[string]string, error) {
	file := filepath.Join(folder, "kustomization.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	refs, err := imageNames(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}

	return refs, nil
}

// imageNames are the names with tags of the images that a kustomization sets the tags of,
// by their last element: rng for ghcr.io/evenkeel/rng.
func imageNames(kustomization []byte) (map[string]string, error) {
	var k struct {
		Images []struct{ Name, NewName, NewTag string }
	}
	if err := yaml.Unmarshal(kustomization, &k); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, i := range k.Images {
		name := i.Name
		if i.NewName != "" {
			name = i.NewName
		}
		if i.NewTag == "" {
			return nil, fmt.Errorf("images: %s has no newTag", name)
		}
		out[path.Base(i.Name)] = name + ":" + i.NewTag
	}
	if len(out) == 0 {
		return nil, errors.New("images: there are none")
	}

	return out, nil
}

// choose is what was asked for, or all services.
func choose(services, others map[string]string, asked []string) ([]string, error) {
	all := slices.Sorted(maps.Keys(services))
	if len(asked) == 0 {
		return all, nil
	}
	known := slices.Sorted(maps.Keys(others))
	known = append(all, known...)
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("program %q: not one of %s", name, strings.Join(known, ", "))
		}
	}

	return asked, nil
}

// load compiles a program, makes its image and hands that to the containerd of each node.
func (c *cluster) load(ctx context.Context, r *record, p program) error {
	scratch, err := os.MkdirTemp("", "cluster-load-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	binary := filepath.Join(scratch, p.name)
	build := goCommand(ctx, p.folder, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, p.path)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", p.name, err, output)
	}
	if err := os.MkdirAll(c.images(), 0o755); err != nil {
		return err
	}
	tarball := p.name + ".tar"
	if err := image.Write(c.images(tarball), p.ref, binary); err != nil {
		return err
	}
	// Each node has its own copy by now.
	defer func() { _ = os.Remove(c.images(tarball)) }()

	nodes, ctx := errgroup.WithContext(ctx)
	for _, m := range r.Members[1:] {
		nodes.Go(func() error {
			return m.ask(ctx, http.MethodPost, "/import", url.Values{"image": {tarball}}, nil)
		})
	}

	return nodes.Wait()
}
