//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/term"

	"github.com/evenkeel/evenkeel/tools/cluster/image"
	"github.com/evenkeel/evenkeel/tools/cluster/sandbox"
)

const (
	rootModule = "github.com/evenkeel/evenkeel"
	ownFolder  = "tools/cluster"
	stampFile  = "stamp"
)

type buildCommand struct{}

func (buildCommand) Run(ctx context.Context, c *cluster) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	built, err := c.build(ctx)
	if err == nil && !built {
		fmt.Fprintln(os.Stderr, "cluster: built already, from the same sources")
	}

	return err
}

// build compiles the components and makes the images of those that run in pods, unless
// that was done from the same sources. It reports whether it did.
func (c *cluster) build(ctx context.Context) (bool, error) {
	source, err := c.sourceTree()
	if err != nil {
		return false, err
	}
	folder := filepath.Join(source, ownFolder)
	versions, err := versions(goMod)
	if err != nil {
		return false, err
	}
	flags := linkerFlags(versions)
	stamp, err := stampOf(os.DirFS(folder), runtime.Version(), runtime.GOARCH, flags)
	if err != nil {
		return false, err
	}
	if last, err := os.ReadFile(c.bin(stampFile)); err == nil && string(last) == stamp {
		return false, nil
	}

	if _, err := exec.LookPath("go"); err != nil {
		return false, errors.New("go: not found in PATH; with sudo, keep yours: sudo env \"PATH=$PATH\" …")
	}
	// Apart, so that what is there serves until all of the new is.
	fresh := c.bin() + ".new"
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := compile(ctx, folder, fresh, flags, versions[kubernetesModule]); err != nil {
		return false, err
	}
	if err := os.MkdirAll(c.images(), 0o755); err != nil {
		return false, err
	}
	if err := image.Write(c.images("pause.tar"), sandbox.PauseImage, filepath.Join(fresh, "pause")); err != nil {
		return false, err
	}
	if err := image.Write(c.images("coredns.tar"), corednsImage(versions), filepath.Join(fresh, "coredns")); err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(fresh, stampFile), []byte(stamp), 0o644); err != nil {
		return false, err
	}
	if err := os.RemoveAll(c.bin()); err != nil {
		return false, err
	}

	return true, os.Rename(fresh, c.bin())
}

// compile runs the Go compiler over the components, and tells how far it is.
func compile(ctx context.Context, folder, to, flags, version string) error {
	deps, err := goCommand(ctx, folder, "list", "-deps", "./components/...").Output()
	if err != nil {
		return fmt.Errorf("list packages: %w%s", err, stderrOf(err))
	}
	total := strings.Count(string(deps), "\n")

	build := goCommand(ctx, folder, "build", "-v", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace",
		"-ldflags", flags, "-o", to+string(filepath.Separator), "./components/...")
	output, err := build.StderrPipe()
	if err != nil {
		return err
	}
	if err := build.Start(); err != nil {
		return err
	}
	errorLines := progress(output, "Kubernetes "+version, total)
	if err := build.Wait(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, strings.Join(errorLines, "\n"))
	}

	return nil
}

func goCommand(ctx context.Context, folder string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = folder
	// Static, so that a binary runs in an empty image; and this module as it is, whatever
	// workspace it may be part of.
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second

	return command
}

func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "\n" + string(exit.Stderr)
	}

	return ""
}

// progress counts the packages that `go build -v` names, and returns the lines that are
// no names of packages. What Go has in its cache is not named, so the count may end early.
func progress(output io.Reader, what string, total int) []string {
	began := time.Now()
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	var other []string
	count := 0
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.ContainsAny(lines.Text(), " :") {
			other = append(other, lines.Text())

			continue
		}
		count++
		text := fmt.Sprintf("building %s: %d of at most %d packages, %s", what, count, total, time.Since(began).Round(time.Second))
		switch {
		case terminal:
			fmt.Fprintf(os.Stderr, "\r\033[K%s", text)
		case count%200 == 0:
			fmt.Fprintln(os.Stderr, text)
		}
	}
	if terminal && count > 0 {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	if count > 0 {
		fmt.Fprintf(os.Stderr, "built %s: %d packages in %s\n", what, count, time.Since(began).Round(time.Second))
	}

	return other
}

// stampOf is a hash of all that the binaries are made from.
func stampOf(folder fs.FS, rest ...string) (string, error) {
	hash := sha256.New()
	for _, text := range rest {
		fmt.Fprintf(hash, "%q\n", text)
	}
	add := func(name string) error {
		text, err := fs.ReadFile(folder, name)
		fmt.Fprintf(hash, "%q %q\n", name, text)

		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := add(name); err != nil {
			return "", err
		}
	}
	// image is not compiled into them, but the tarballs are its work.
	for _, dir := range []string{"components", "image"} {
		err := fs.WalkDir(folder, dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}

			return add(name)
		})
		if err != nil {
			return "", err
		}
	}

	return fmt.Sprintf("%x\n", hash.Sum(nil)), nil
}

// sourceTree is the root of the Evenkeel source tree: the one that was named, or the
// one around the current folder.
func (c *cluster) sourceTree() (string, error) {
	if c.source != "" {
		if isRoot(c.source) {
			return c.source, nil
		}

		return "", fmt.Errorf("--source: %s has no go.mod of %s in it", c.source, rootModule)
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := here; ; folder = filepath.Dir(folder) {
		if isRoot(folder) {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no source tree of %s around %s: change into it, or name it with --source", rootModule, here)
		}
	}
}

func isRoot(folder string) bool {
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))

	return err == nil && modfile.ModulePath(text) == rootModule
}
