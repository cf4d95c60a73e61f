package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/evenkeel/evenkeel/tools/lab/experiment"
	"github.com/evenkeel/evenkeel/tools/lab/local"
	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

type runCommand struct {
	Overlays []string `arg:"" help:"Overlays: names in the overlays folder, or paths to folders with a kustomization.yaml."`

	Env         string `default:"local" enum:"local" help:"Where they run: ${enum} (processes on this machine, with stand-ins for the parts of Kubernetes that a strategy touches)."`
	Scenario    string `default:"tools/lab/scenarios/day.yaml" type:"path" help:"Scenario to run."`
	Out         string `default:"out" type:"path" help:"Folder for results.json and report.html."`
	OverlaysDir string `default:"kustomize/overlays" type:"path" help:"Folder of the overlays."`
	BinDir      string `type:"path" help:"Folder of the services' binaries. The lab's own by default."`
	KeepLogs    bool   `help:"Copy the logs of the pods to the folder logs in --out."`
}

// Run runs the experiment.
func (c runCommand) Run(ctx context.Context) error {
	script, overlays, err := c.read()
	if err != nil {
		return usageError{err}
	}
	binaries, err := c.binaries()
	if err != nil {
		return usageError{err}
	}
	progress := newProgress(os.Stderr, script)
	defer progress.Close()

	// What the stand-ins log belongs above the line that keeps up.
	slog.SetDefault(slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{ReplaceAttr: withoutTime})))

	env, err := local.New(ctx, local.Options{Binaries: binaries, Load: script.Load, Log: progress.Note})
	if err != nil {
		return err
	}
	out, err := (&experiment.Experiment{
		Environment: env, Scenario: script, Overlays: overlays, Progress: progress,
	}).Run(ctx)
	progress.Step("stopping")
	if c.KeepLogs {
		if err := env.CopyLogs(filepath.Join(c.Out, "logs")); err != nil {
			progress.Note("logs: " + err.Error())
		}
	}
	env.Close()
	progress.Close()
	if err != nil {
		return err
	}

	resultsFile, reportFile := filepath.Join(c.Out, "results.json"), filepath.Join(c.Out, "report.html")
	if err := writeResults(resultsFile, out); err != nil {
		return err
	}
	if err := writeReport(reportFile, out); err != nil {
		return err
	}
	if err := report.Table(os.Stdout, out, terminalWidth(os.Stdout)); err != nil {
		return err
	}
	fmt.Printf("\n%s\n%s\n", resultsFile, reportFile)

	return nil
}

// withoutTime leaves the time out of a log that is read as it happens.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}

	return a
}

// binaries finds the services' binaries: beside the lab, if nothing else is said.
func (c runCommand) binaries() (map[string]string, error) {
	if c.BinDir != "" {
		return local.Binaries(c.BinDir)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}

	return local.Binaries(filepath.Dir(exe))
}

// read reads the scenario and renders the overlays, so that whatever is wrong with
// them is said before anything is started.
func (c runCommand) read() (*scenario.Scenario, []*render.Overlay, error) {
	script, err := scenario.Load(c.Scenario)
	if err != nil {
		return nil, nil, err
	}
	var overlays []*render.Overlay
	for _, name := range c.Overlays {
		dir, err := render.Find(c.OverlaysDir, name)
		if err != nil {
			return nil, nil, err
		}
		o, err := render.Render(dir)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(overlays, func(other *render.Overlay) bool { return other.Namespace == o.Namespace }) {
			return nil, nil, fmt.Errorf("overlay %s: its namespace %q is that of an earlier overlay: give each its own",
				name, o.Namespace)
		}
		overlays = append(overlays, o)
	}

	return script, overlays, nil
}
