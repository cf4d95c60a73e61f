//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
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
	Services []string `arg:"" optional:"" help:"Services to load, by the names of their folders in services/. Default: all that kustomize/base has an image of."`
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
	base := filepath.Join(source, "kustomize", "base", "kustomization.yaml")
	text, err := os.ReadFile(base)
	if err != nil {
		return err
	}
	refs, err := imageNames(text)
	if err != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	services, err := choose(refs, l.Services)
	if err != nil {
		return err
	}
	for _, service := range services {
		if err := c.load(ctx, r, source, service, refs[service]); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "loaded %s\n", refs[service])
	}

	return nil
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

// choose is what was asked for, or everything.
func choose(refs map[string]string, asked []string) ([]string, error) {
	var known []string
	for name := range refs {
		known = append(known, name)
	}
	slices.Sort(known)
	if len(asked) == 0 {
		return known, nil
	}
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("service %q: not one of %s", name, strings.Join(known, ", "))
		}
	}

	return asked, nil
}

// load compiles a service, makes its image and hands that to the containerd of each node.
func (c *cluster) load(ctx context.Context, r *record, source, service, ref string) error {
	scratch, err := os.MkdirTemp("", "cluster-load-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	binary := filepath.Join(scratch, service)
	build := goCommand(ctx, source, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "./services/"+service)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", service, err, output)
	}
	if err := os.MkdirAll(c.images(), 0o755); err != nil {
		return err
	}
	tarball := service + ".tar"
	if err := image.Write(c.images(tarball), ref, binary); err != nil {
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
