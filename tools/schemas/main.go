// Command schemas writes the JSON schema of every kind of Kubernetes to a cache
// folder, for kubeconform to check manifests with, and prints the name of
// the folder that holds them. If they are there already it does nothing else.
//
// They come from the OpenAPI document inside Kubernetes' own Go module, so
// nothing but the Go module proxy is asked, and only the first time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/evenkeel/evenkeel/internal/config"
)

const (
	// version is the Kubernetes whose kinds these are.
	version = "v1.36.3"
	// checksum is that module's, as go.sum would have it. The module is no
	// dependency, so nobody else compares it.
	checksum = "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o="
	// revision changes when convert does, so that no stale cache is used.
	revision = "1"
)

type settings struct {
	config.Common

	Cache string `arg:"" env:"-" help:"Folder to keep the schemas in. It is made if need be."`
}

func main() {
	var cfg settings
	config.MustParse(&cfg, config.Program{
		Name:        "schemas",
		Description: "Writes JSON schemas of Kubernetes " + version + " for kubeconform, and prints the folder they are in.",
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	folder, err := ensure(ctx, cfg.Cache, openAPI)
	if err != nil {
		fmt.Fprintf(os.Stderr, "schemas: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(folder)
}

// ensure returns the folder with the schemas, within the cache folder. It fills it
// from the document if it is not there. It is there whole or not at all.
func ensure(ctx context.Context, cache string, document func(context.Context) ([]byte, error)) (string, error) {
	folder := filepath.Join(cache, "kubernetes-"+version+"-"+revision)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cache: %w", err)
	}
	text, err := document(ctx)
	if err != nil {
		return "", err
	}
	files, err := convert(text)
	if err != nil {
		return "", err
	}
	if err := write(cache, folder, files); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}

	return folder, nil
}

// write makes the folder under another name first. Whoever else does the same at
// the same time has made the same folder.
func write(cache, folder string, files map[string][]byte) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	half, err := os.MkdirTemp(cache, "half-written-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(half)) }()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(half, name), text, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(half, 0o755); err != nil {
		return err
	}
	if err := os.Rename(half, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}

	return nil
}

// openAPI reads the document from the Kubernetes module, which the go command
// downloads if it has not already.
func openAPI(ctx context.Context) ([]byte, error) {
	const module = "k8s.io/kubernetes@" + version
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	// Outside of any module, so that no go.mod is consulted or changed.
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failed := cmd.Run()
	var answer struct{ Dir, Sum, Error string }
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		return nil, fmt.Errorf("go mod download %s: %w: %s", module, errors.Join(failed, err), bytes.TrimSpace(stderr.Bytes()))
	}
	switch {
	case answer.Error != "":
		return nil, fmt.Errorf("go mod download %s: %s", module, answer.Error)
	case failed != nil:
		return nil, fmt.Errorf("go mod download %s: %w", module, failed)
	case answer.Sum != checksum:
		return nil, fmt.Errorf("%s has the checksum %s, not %s", module, answer.Sum, checksum)
	}
	text, err := os.ReadFile(filepath.Join(answer.Dir, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}

	return text, nil
}
