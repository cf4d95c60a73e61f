package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evenkeel/evenkeel/tools/lab/matrix"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

type matrixCommand struct {
	Overlay  []string `required:"" sep:"none" help:"Overlay to run; give it once for each."`
	Scenario []string `required:"" sep:"none" help:"Scenario to run them under: a name in the scenarios folder, or a path. Give it once for each."`
	Repeats  int      `default:"3" help:"How often each scenario is run. Three are the fewest that tell a difference from noise."`
	Out      string   `required:"" type:"path" help:"Folder for index.html, matrix.json and the runs."`
	Resume   bool     `help:"Keep the runs that are in --out, and do what is missing."`

	Where        where  `embed:""`
	ScenariosDir string `default:"tools/lab/scenarios" type:"path" help:"Folder of the scenarios."`
}

// Run runs the matrix.
func (c matrixCommand) Run(ctx context.Context) error {
	return c.with(ctx, func(ctx context.Context, script string, overlays []string, out string) (*results.Results, error) {
		return c.Where.run(ctx, script, overlays, "", out)
	})
}

// with runs the matrix with whatever runs an experiment.
func (c matrixCommand) with(ctx context.Context, run matrix.Runner) error {
	m := matrix.Matrix{
		Overlays: c.Overlay, Repeats: c.Repeats, Out: c.Out, Resume: c.Resume,
		Run: run,
		Say: func(line string) { fmt.Fprintln(os.Stderr, "lab: "+line) },
	}
	for _, name := range c.Scenario {
		path := c.path(name)
		script, err := scenario.Load(path)
		if err != nil {
			return usageError{err}
		}
		m.Scenarios = append(m.Scenarios, matrix.Scenario{
			Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Path: path, Length: script.Length(),
		})
	}
	rec, err := m.Execute(ctx)
	if _, usage := errors.AsType[matrix.UsageError](err); usage {
		return usageError{err}
	}
	if rec != nil {
		fmt.Println(filepath.Join(c.Out, "index.html"))
	}
	return err
}

// path is the file of a scenario that is given as a name or a path.
func (c matrixCommand) path(name string) string {
	if strings.ContainsRune(name, filepath.Separator) || filepath.Ext(name) != "" {
		return name
	}
	return filepath.Join(c.ScenariosDir, name+".yaml")
}
