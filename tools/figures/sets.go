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
	"time"

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
	// Command runs the experiment in the source tree, and writes Output to the folder OUT.
	Command string `yaml:"command"`
	// Variants are what VARIANT in the command stands for, one after the other, if it has that.
	Variants []string `yaml:"variants"`
	// Repeats is how often the command is run, with each of its variants.
	Repeats int `yaml:"repeats"`
	// Output is results.json of the lab unless said otherwise; bench.txt of `go test -bench`; or Markdown for a document to quote.
	Output string `yaml:"output"`

	// One of them has the runs, by Output.
	Lab   []*results.Results `yaml:"-"`
	Bench []benchmarks       `yaml:"-"`
	Text  []text             `yaml:"-"`
}

const (
	labOutput   = "results.json"
	benchOutput = "bench.txt"
)

const placeholder = "VARIANT"

// commands are those of all runs.
func (s set) commands() []string {
	variants := s.Variants
	if len(variants) == 0 {
		variants = []string{""}
	}
	var commands []string
	for _, v := range variants {
		commands = append(commands, slices.Repeat([]string{strings.ReplaceAll(s.Command, placeholder, v)}, s.Repeats)...)
	}

	return commands
}

// check names the first field that is not as it has to be.
func (s set) check() error {
	switch {
	case s.Name == "" || s.About == "":
		return errors.New("give a name, and about")
	case s.Repeats < 1:
		return fmt.Errorf("repeats: %d: give 1 or more", s.Repeats)
	case !strings.Contains(s.Command, "OUT"):
		return fmt.Errorf("command: %q: it has to write to OUT", s.Command)
	case strings.Contains(s.Command, placeholder) != (len(s.Variants) > 0):
		return fmt.Errorf("variants: %d: give some if the command has %s, and none if not", len(s.Variants), placeholder)
	case s.Output != labOutput && s.Output != benchOutput && filepath.Ext(s.Output) != ".md":
		return fmt.Errorf("output: %q: give %s, %s or a name that ends in .md", s.Output, labOutput, benchOutput)
	}

	return nil
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
	for i := range s {
		if s[i].Output == "" {
			s[i].Output = labOutput
		}
		if err := s[i].check(); err != nil {
			return nil, fmt.Errorf("%s: set %d (%q): %w", file, i+1, s[i].Name, err)
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
		for n := range s[i].commands() {
			if s[i], err = s[i].with(s[i].file(folder, n+1)); err != nil {
				return nil, err
			}
		}
	}

	return s, nil
}

// with is the set with one more run, that in a file.
func (s set) with(file string) (set, error) {
	switch s.Output {
	case labOutput:
		r, err := results.Read(file)
		s.Lab = append(s.Lab, r)

		return s, err
	case benchOutput:
		b, err := readBenchmarks(file)
		s.Bench = append(s.Bench, b)

		return s, err
	default:
		t, err := readText(file)
		s.Text = append(s.Text, t)

		return s, err
	}
}

// file is that of the set's run number n.
func (s set) file(folder string, n int) string {
	return filepath.Join(folder, s.Name, strconv.Itoa(n)+filepath.Ext(s.Output))
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
	Sets []string `arg:"" help:"Names of sets in docs/results/sets.yaml; with a number, one run of it, as in local-day/2."`
	Root string   `default:"." type:"existingdir" help:"The source tree."`
}

// Run measures sets again, one after the other. What was measured is kept when a later run fails.
func (c measureCommand) Run(ctx context.Context) error {
	folder := filepath.Join(c.Root, "docs", "results")
	all, err := readList(folder)
	if err != nil {
		return err
	}
	var todo []func() error
	for _, wanted := range c.Sets {
		name, number, _ := strings.Cut(wanted, "/")
		s, err := all.get(name)
		if err != nil {
			return err
		}
		commands := s.commands()
		only, err := strconv.Atoi(number)
		if number != "" && (err != nil || only < 1 || only > len(commands)) {
			return fmt.Errorf("%s: %s has the runs 1 to %d, and not %s", wanted, name, len(commands), number)
		}
		for i, command := range commands {
			if number == "" || only == i+1 {
				todo = append(todo, func() error {
					fmt.Fprintf(os.Stderr, "figures: %s, run %d of %d\n", name, i+1, len(commands))
					if err := s.measure(ctx, c.Root, command, s.file(folder, i+1)); err != nil {
						return fmt.Errorf("%s: %s: %w", name, command, err)
					}

					return nil
				})
			}
		}
	}
	for _, measure := range todo {
		if err := measure(); err != nil {
			return err
		}
	}

	return nil
}

// measure runs the experiment once, and keeps its results in a file.
func (s set) measure(ctx context.Context, root, line, file string) (err error) {
	out, err := os.MkdirTemp("", "figures-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(line, "OUT", out))
	command.Dir, command.Stdout, command.Stderr = root, os.Stdout, os.Stderr
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	if err := command.Run(); err != nil {
		return err
	}
	written := filepath.Join(out, s.Output)
	content, err := os.ReadFile(written)
	if err != nil {
		return err
	}
	if s.Output != labOutput { // which says by itself where it was
		content = append(header(time.Now()), content...)
		if err := os.WriteFile(written, content, 0o600); err != nil {
			return err
		}
	}
	if _, err := s.with(written); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}

	return os.WriteFile(file, content, 0o644)
}
