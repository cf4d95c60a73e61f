package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/klog/v2"

	"github.com/evenkeel/evenkeel/tools/lab/cluster"
	"github.com/evenkeel/evenkeel/tools/lab/experiment"
	"github.com/evenkeel/evenkeel/tools/lab/local"
	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

type runCommand struct {
	Overlays []string `arg:"" help:"Overlays: names in the overlays folder, or paths to folders with a kustomization.yaml; with components, if wanted, as in endpointslice+retries."`

	Where    where  `embed:""`
	Scenario string `default:"tools/lab/scenarios/day.yaml" type:"path" help:"Scenario to run."`
	Vary     string `placeholder:"SETTING=VALUE,…" help:"Run each overlay once for each value of a setting of the service's Deployment, all at once: pre-stop, min-ready-seconds or max-connection-age, as pre-stop=0s,1s,5s."`
	Out      string `default:"out" type:"path" help:"Folder for results.json and report.html."`
}

// where says in which environment overlays run.
type where struct {
	Env         string `default:"local" enum:"local,kubernetes" help:"Where they run: local (processes on this machine, with stand-ins for the parts of Kubernetes that a strategy touches) or kubernetes (the cluster that the kubeconfig points to)."`
	OverlaysDir string `default:"kustomize/overlays" type:"path" help:"Folder of the overlays."`
	BinDir      string `type:"path" help:"With --env=local: folder of the services' binaries. The lab's own by default."`
	KeepLogs    bool   `help:"With --env=local: copy the logs of the pods to the folder logs in --out."`
	Context     string `placeholder:"NAME" help:"With --env=kubernetes: the kubeconfig's context. The current one by default; but scenarios that drain nodes or stop the cluster's DNS want it named."`
	ClusterTool string `type:"existingfile" env:"EVENKEEL_CLUSTER" help:"With --env=kubernetes: the program of tools/cluster, if that has started the cluster. It can freeze pods and cut nodes off."`
	Keep        bool   `help:"With --env=kubernetes: leave the overlays in the cluster."`
}

// Validate names a flag that is of no use. kong calls it.
func (w *where) Validate() error {
	other := map[string]map[string]bool{
		"kubernetes": {"bin-dir": w.BinDir != "", "keep-logs": w.KeepLogs},
		"local":      {"context": w.Context != "", "keep": w.Keep},
	}
	for _, flag := range slices.Sorted(maps.Keys(other[w.Env])) {
		if other[w.Env][flag] {
			return fmt.Errorf("--%s is of no use with --env=%s", flag, w.Env)
		}
	}

	return nil
}

// Run runs the experiment.
func (c runCommand) Run(ctx context.Context) error {
	out, err := c.Where.run(ctx, c.Scenario, c.Overlays, c.Vary, c.Out)
	if err != nil {
		return err
	}
	if err := writeResults(resultsFile(c.Out), out); err != nil {
		return err
	}
	if err := writeReport(reportFile(c.Out), out); err != nil {
		return err
	}
	if err := report.Table(os.Stdout, out, terminalWidth(os.Stdout)); err != nil {
		return err
	}
	fmt.Printf("\n%s\n%s\n", resultsFile(c.Out), reportFile(c.Out))

	return nil
}

func resultsFile(folder string) string { return filepath.Join(folder, "results.json") }
func reportFile(folder string) string  { return filepath.Join(folder, "report.html") }

// run runs one experiment. Logs that are kept go to the folder out.
func (w *where) run(ctx context.Context, script string, overlays []string, vary, out string) (*results.Results, error) {
	s, rendered, err := w.read(script, overlays, vary)
	if err != nil {
		return nil, usageError{err}
	}
	progress := newProgress(os.Stderr, s)
	defer progress.Close()

	// What the stand-ins and client-go log belongs above the line that keeps up.
	slog.SetDefault(slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{ReplaceAttr: withoutTime})))
	klog.SetSlogLogger(slog.Default())

	env, end, err := w.environment(ctx, s, progress, out)
	if err != nil {
		return nil, err
	}
	r, err := (&experiment.Experiment{Environment: env, Scenario: s, Overlays: rendered, Progress: progress}).Run(ctx)
	progress.Step("stopping")
	err = errors.Join(err, end())
	progress.Close()
	if err != nil {
		return nil, err
	}

	return r, nil
}

// environment makes the environment, and says how it ends.
func (w *where) environment(
	ctx context.Context, s *scenario.Scenario, progress *progress, out string,
) (env experiment.Environment, end func() error, err error) {
	if w.Env == cluster.Kind {
		env, err := cluster.New(ctx, cluster.Options{
			Context: w.Context, Tool: w.ClusterTool, ClientEnv: s.ClientEnv(), Keep: w.Keep, Log: progress.Note,
		})
		if err != nil {
			return nil, nil, err
		}
		if err := env.Check(ctx, s); err != nil {
			return nil, nil, errors.Join(usageError{err}, env.Close())
		}

		return env, env.Close, nil
	}
	if err := s.Refuse(local.Kind, local.Cannot); err != nil {
		return nil, nil, usageError{err}
	}
	binaries, err := findBinaries(w.BinDir)
	if err != nil {
		return nil, nil, usageError{err}
	}
	l, err := local.New(ctx, local.Options{Binaries: binaries, ClientEnv: s.ClientEnv(), Log: progress.Note})
	if err != nil {
		return nil, nil, err
	}

	return l, func() error {
		if w.KeepLogs {
			if err := l.CopyLogs(filepath.Join(out, "logs")); err != nil {
				progress.Note("logs: " + err.Error())
			}
		}
		l.Close()

		return nil
	}, nil
}

// withoutTime leaves the time out of a log that is read as it happens.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}

	return a
}

// findBinaries finds the services' binaries: beside the lab, if no folder is given.
func findBinaries(folder string) (map[string]string, error) {
	if folder != "" {
		return local.Binaries(folder)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}

	return local.Binaries(filepath.Dir(exe))
}

// read reads the scenario and renders the overlays, so that whatever is wrong with
// them is said before anything is started.
func (w *where) read(file string, names []string, vary string) (*scenario.Scenario, []*render.Overlay, error) {
	script, err := scenario.Load(file)
	if err != nil {
		return nil, nil, err
	}
	overlays, err := loadOverlays(w.OverlaysDir, names)
	if err != nil {
		return nil, nil, err
	}
	if vary == "" {
		return script, overlays, nil
	}
	v, err := render.ParseVariation(vary)
	if err != nil {
		return nil, nil, fmt.Errorf("--vary: %w", err)
	}
	var variants []*render.Overlay
	for _, o := range overlays {
		of, err := v.Of(o, script.Service)
		if err != nil {
			return nil, nil, err
		}
		variants = append(variants, of...)
	}

	return script, variants, nil
}

// loadOverlays renders the overlays in a folder by their names, each of which has a namespace of its own.
func loadOverlays(folder string, names []string) ([]*render.Overlay, error) {
	overlays := make([]*render.Overlay, 0, len(names))
	for _, name := range names {
		o, err := render.Load(folder, name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(overlays, func(other *render.Overlay) bool { return other.Namespace == o.Namespace }) {
			return nil, fmt.Errorf("overlay %s: its namespace %q is that of an earlier overlay: give each its own",
				name, o.Namespace)
		}
		overlays = append(overlays, o)
	}

	return overlays, nil
}
