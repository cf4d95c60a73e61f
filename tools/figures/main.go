// Command figures writes into the documents what the runs in docs/results measured.
//
// A document has a figure where it has a comment with a Go template, what that says, and the comment that ends it:
//
//	<!--{{figure "kubernetes-rollouts" "endpointslice" "failed, graceful"}}-->0<!--/--> RPCs failed
//
// Whoever reads the page sees the figure only; whoever reads the source sees where it comes from. functions.go has what a
// template may say. With --check nothing is written, and a document that says anything else is an error. So is, always, a
// number that is neither a run's nor listed in docs/results/given.yaml (numbers.go).
//
// With a set's name the command runs its experiment again, and keeps the results: docs/results/sets.yaml has the sets.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/interrupt"
)

type cli struct {
	config.Common

	Write   writeCommand   `cmd:"" default:"withargs" help:"Write the figures into the documents (the default)."`
	Measure measureCommand `cmd:"" help:"Run the experiments of sets again, and keep their results."`
}

func main() {
	var c cli
	kctx := config.MustParse(&c, config.Program{
		Name: "figures", Description: "Writes into the documents what the runs in docs/results measured.",
	})
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	if err := kctx.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "figures: %v\n", err)
		os.Exit(1)
	}
}

type writeCommand struct {
	Check bool   `help:"Write nothing; a document that is not up to date is an error."`
	Root  string `default:"." type:"existingdir" help:"The source tree."`
}

// Run brings all documents up to date.
func (c writeCommand) Run() error {
	sets, err := readSets(filepath.Join(c.Root, "docs", "results"))
	if err != nil {
		return err
	}
	files, err := documents(c.Root)
	if err != nil {
		return err
	}
	given, err := readGiven(filepath.Join(c.Root, "docs", "results"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		before, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		after, err := fill(before, sets)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s:%w", file, err))

			continue
		case bytes.Equal(before, after):
		case c.Check:
			errs = append(errs, fmt.Errorf("%s: line %d is not what docs/results say: make results", file, firstDifference(before, after)))
		default:
			if err := os.WriteFile(file, after, 0o644); err != nil {
				return err
			}
			fmt.Println(file)
		}
		name, err := filepath.Rel(c.Root, file)
		if err != nil {
			return err
		}
		errs = append(errs, given.unmarked(name, after))
	}

	return errors.Join(errs...)
}

// documents are the files that have figures.
func documents(root string) ([]string, error) {
	files := []string{filepath.Join(root, "README.md")}
	for _, pattern := range []string{"docs/*.md", "docs/results/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}

	return files, nil
}

// firstDifference is the number of the first line that differs.
func firstDifference(a, b []byte) int {
	before, after := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(before), len(after)) {
		if !slices.Equal(before[i], after[i]) {
			return i + 1
		}
	}

	return min(len(before), len(after))
}
