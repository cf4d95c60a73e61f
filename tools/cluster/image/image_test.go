package image_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/evenkeel/evenkeel/tools/cluster/image"
)

func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rng")
	if err := os.WriteFile(path, []byte("a static binary"), 0o600); err != nil {
		t.Fatal(err)
	}

	return path
}

func TestAnImageHoldsTheBinaryAndRunsItAsNobody(t *testing.T) {
	to := filepath.Join(t.TempDir(), "rng.tar")
	if err := image.Write(to, "ghcr.io/evenkeel/rng:v0.1.0", program(t)); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("ghcr.io/evenkeel/rng:v0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(to, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !cmp.Equal(config.Config.Entrypoint, []string{"/rng"}) || config.OS != "linux" {
		t.Errorf("got %+v", config.Config)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("%d layers", len(layers))
	}
	if id, err := layers[0].DiffID(); err != nil || id != config.RootFS.DiffIDs[0] {
		t.Errorf("the layer is %v, the configuration says %v (%v)", id, config.RootFS.DiffIDs, err)
	}
	body, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	files := map[string]string{}
	for r := tar.NewReader(body); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(text)
		if header.Name == "rng" && header.Mode != 0o755 {
			t.Errorf("the binary has mode %o", header.Mode)
		}
	}
	if files["rng"] != "a static binary" || !strings.Contains(files["etc/passwd"], ":65532:") || len(files) != 4 {
		t.Errorf("got %q", files)
	}
}

func TestTheSameBinaryMakesTheSameImage(t *testing.T) {
	binary := program(t)
	first, err := image.Build(binary)
	if err != nil {
		t.Fatal(err)
	}
	again, err := image.Build(binary)
	if err != nil {
		t.Fatal(err)
	}
	a, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := again.Digest(); err != nil || a != b {
		t.Errorf("%v and %v (%v)", a, b, err)
	}
}

func TestAnImageWithoutATagIsRefused(t *testing.T) {
	to := filepath.Join(t.TempDir(), "x.tar")
	if err := image.Write(to, "ghcr.io/evenkeel/rng", program(t)); err == nil {
		t.Error("a name without a tag was accepted")
	}
	if err := image.Write(to, "ghcr.io/evenkeel/rng:v1", filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a binary that is not there was accepted")
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}
