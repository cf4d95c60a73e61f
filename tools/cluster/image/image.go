// Package image makes a container image of one static binary: an empty base, the binary,
// and nothing that a shell or a package manager could be looked for in.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// User is whom the binary runs as: the number that distroless images have made the
// custom for "nobody in particular". Kubernetes takes a number for not root, not a name.
const User = 65532

const passwd = "root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n"

// Write writes the image of a static binary as a tarball in the form of `docker save`.
// ref is its name, such as ghcr.io/evenkeel/rng:v0.1.0. The same binary makes the same
// image, byte for byte.
func Write(to, ref, binary string) error {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("image name: %w", err)
	}
	img, err := Build(binary)
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	// Whoever reads the tarball finds all of it or none.
	temporary := to + ".new"
	if err := tarball.WriteToFile(temporary, tag, img); err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}

	return os.Rename(temporary, to)
}

// Build makes the image of a static binary, which it starts.
func Build(binary string) (v1.Image, error) {
	files, err := archive(binary)
	if err != nil {
		return nil, err
	}
	// Compressing pays on a network, and there is none.
	layer := static.NewLayer(files, types.DockerUncompressedLayer)
	id, err := layer.DiffID()
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}

	return mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{id}},
		Config: v1.Config{
			Entrypoint: []string{"/" + filepath.Base(binary)},
			User:       fmt.Sprintf("%d:%d", User, User),
			WorkingDir: "/",
			Env:        []string{"PATH=/"},
		},
	})
}

// archive is the image's only layer.
func archive(binary string) ([]byte, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	entries := []struct {
		header tar.Header
		body   []byte
	}{
		{tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755}, nil},
		{tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte(passwd)},
		// A program may need one; with a read-only root, a volume is mounted here.
		{tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil},
		{tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(binary), Mode: 0o755}, program},
	}
	for _, entry := range entries {
		entry.header.Size = int64(len(entry.body))
		if err := w.WriteHeader(&entry.header); err != nil {
			return nil, err
		}
		if _, err := w.Write(entry.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}

	return out.Bytes(), nil
}
