package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// sets are all there are.
type sets []set

// set is an experiment and its results: SET/1.json, SET/2.json and so on.
type set struct {
	Name string `yaml:"name"`
	// About says what it is, for people.
	About string `yaml:"about"`
	// Command runs the experiment in the source tree, and writes results.json to the folder OUT.
	Command string `yaml:"command"`
	// Repeats is how often it is run.
	Repeats int `yaml:"repeats"`

	Runs []*results.Results `yaml:"-"`
}

// readList reads sets.yaml, without the results.
func readList(folder string) (sets, error) {
	file := filepath.Join(folder, "sets.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var s sets
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i, set := range s {
		if set.Name == "" || set.About == "" || set.Repeats < 1 || !strings.Contains(set.Command, "OUT") {
			return nil, fmt.Errorf("%s: set %d (%q): give a name, about, repeats of 1 or more, and a command that writes to OUT", file, i+1, set.Name)
		}
	}

	return s, nil
}

// readSets reads all sets and their results.
func readSets(folder string) (sets, error) {
	s, err := readList(folder)
	if err != nil {
		return nil, err
	}
	for i := range s {
		for n := range s[i].Repeats {
			r, err := results.Read(s[i].file(folder, n+1))
			if err != nil {
				return nil, err
			}
			s[i].Runs = append(s[i].Runs, r)
		}
	}

	return s, nil
}

// file is that of the set's run number n.
func (s set) file(folder string, n int) string {
	return filepath.Join(folder, s.Name, strconv.Itoa(n)+".json")
}

func (s sets) get(name string) (set, error) {
	i := slices.IndexFunc(s, func(set set) bool { return set.Name == name })
	if i < 0 {
		var names []string
		for _, set := range s {
			names = append(names, set.Name)
		}

		return set{}, fmt.Errorf("there is no set %q: give %s", name, strings.Join(names, ", "))
	}

	return s[i], nil
}

type measureCommand struct {
	Sets []string `arg:"" help:"Names of sets in docs/results/sets.yaml."`
	Root string   `default:"." type:"existingdir" help:"The source tree."`
}

// Run measures sets again, one after the other. What was measured is kept when a later run fails.
func (c measureCommand) Run(ctx context.Context) error {
	folder := filepath.Join(c.Root, "docs", "results")
	all, err := readList(folder)
	if err != nil {
		return err
	}
	for _, name := range c.Sets {
		s, err := all.get(name)
		if err != nil {
			return err
		}
		for n := range s.Repeats {
			fmt.Fprintf(os.Stderr, "figures: %s, run %d of %d\n", name, n+1, s.Repeats)
			if err := s.measure(ctx, c.Root, s.file(folder, n+1)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}

	return nil
}

// measure runs the experiment once, and keeps its results in a file.
func (s set) measure(ctx context.Context, root, file string) (err error) {
	out, err := os.MkdirTemp("", "figures-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(s.Command, "OUT", out))
	command.Dir, command.Stdout, command.Stderr = root, os.Stdout, os.Stderr
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w", s.Command, err)
	}
	if _, err := results.Read(filepath.Join(out, "results.json")); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}

	return os.WriteFile(file, text, 0o644)
}
