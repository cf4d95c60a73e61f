//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/evenkeel/evenkeel/deploy/observability/check"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

var (
	prometheusProgram = flag.String("prometheus", "", "Prometheus; by default that which `make test-rules` has built. Debian's does not know Kubernetes")
	alertScenarios    = flag.String("alerts", "", "scenarios that the lab runs with Prometheus beside, separated by commas: day, chaos; needs bin/lab")
	alertClusterTool  = flag.String("cluster-tool", "", "with -alerts: bin/cluster, if that has started the cluster")
)

// observed are overlays that have, together, all that the dashboards show.
var observed = []string{"endpointslice", "dns-srv", "consistent-hash"}

// startPrometheus starts one beside the cluster, with the configuration that deploy/observability installs. Only how it
// reaches the API server is another: by kubectl's configuration instead of a ServiceAccount.
func startPrometheus(t *testing.T) *check.Prometheus {
	t.Helper()
	raw, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := clientcmd.WriteToFile(*raw, kubeconfig); err != nil {
		t.Fatal(err)
	}
	program := cmp.Or(*prometheusProgram, filepath.Join(root, ".cache", "tools", "prometheus"))
	p, err := check.Start(t.Context(), program, filepath.Join(root, "deploy", "observability", "prometheus", "prometheus.yml"), folder,
		func(job map[string]any) {
			for _, discovery := range job["kubernetes_sd_configs"].([]any) {
				discovery.(map[string]any)["kubeconfig_file"] = kubeconfig
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})

	return p
}

// TestDashboards has a real Prometheus scrape overlays under load and through a rollout, and asks it every query of every
// panel, every example of docs/metrics.md, and for every recording rule.
func TestDashboards(t *testing.T) {
	if slices.ContainsFunc(observed, func(name string) bool { return !slices.Contains(all, name) }) {
		t.Logf("-overlays leaves out one of %v", observed)

		return
	}
	dashboards, err := check.Dashboards(filepath.Join(root, "deploy", "observability", "grafana", "dashboards"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := check.Rules(filepath.Join(root, "deploy", "observability", "prometheus", "rules"))
	if err != nil {
		t.Fatal(err)
	}
	examples, err := check.Examples(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	p := startPrometheus(t)
	// Other tests apply these overlays, too.
	t.Cleanup(func() {
		if err := gone(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	overlays := named(t, observed...)
	began := time.Now()
	if err := each(ctx, overlays, func(ctx context.Context, o overlay) error {
		if _, err := kubectl(ctx, "apply", "-k", "kustomize/overlays/"+o.name); err != nil {
			return err
		}

		return errors.Join(o.slowDown(ctx), o.begin(ctx))
	}); err != nil {
		t.Fatal(err)
	}
	if err := eventually(ctx, func(ctx context.Context) error { return allUp(ctx, p, overlays) }); err != nil {
		t.Fatal(err)
	}
	if err := each(ctx, overlays, func(ctx context.Context, o overlay) error {
		if _, err := kubectl(ctx, "-n", o.name, "rollout", "restart", "deployment/rng"); err != nil {
			return err
		}

		return o.settled(ctx, "rng")
	}); err != nil {
		t.Fatal(err)
	}
	if err := eventually(ctx, func(ctx context.Context) error {
		now := time.Now()
		for _, query := range examples {
			if err := p.Answer(ctx, query, began, now); err != nil {
				return err
			}
		}

		return errors.Join(
			p.Answers(ctx, dashboards, began, now), p.Records(ctx, rules, began, now),
			// A rollout ends connections, so that this panel is not only drawn as zero.
			p.Answer(ctx, `grpc_subchannel_disconnections_total{namespace="endpointslice"} > 0`, began, now),
			allUp(ctx, p, overlays))
	}); err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, d := range dashboards {
		for _, panel := range d.Panels {
			queries += len(panel.Targets)
		}
	}
	t.Logf("%d queries of %d dashboards, and %d rules, have data", queries, len(dashboards), len(rules))
}

// allUp is an error until Prometheus scrapes every pod of the overlays with success.
func allUp(ctx context.Context, p *check.Prometheus, overlays []overlay) error {
	pods := 0
	for _, o := range overlays {
		for _, workload := range append([]string{"client"}, services...) {
			list, err := o.pods(ctx, workload)
			if err != nil {
				return err
			}
			pods += len(list)
		}
	}
	targets, err := p.Up(ctx)
	if err == nil && targets != pods {
		err = fmt.Errorf("%d targets, and there are %d pods", targets, pods)
	}

	return err
}

// alerting says which overlays the lab runs under a scenario, and which alerts must then fire for endpointslice. None must
// in a day: what it loses there is lost because nobody was there to answer.
var alerting = map[string]struct{ overlays, fire []string }{
	"day":   {overlays: []string{"clusterip", "endpointslice"}},
	"chaos": {overlays: []string{"endpointslice"}, fire: []string{"EvenkeelFailingRPCs", "EvenkeelResolverBlind"}},
}

// TestAlerts runs the scenarios of -alerts with Prometheus beside, and says which alerts have fired in which phase.
func TestAlerts(t *testing.T) {
	for name := range strings.SplitSeq(*alertScenarios, ",") {
		if name == "" {
			continue // nobody asked
		}
		t.Run(name, func(t *testing.T) {
			want, known := alerting[name]
			if !known {
				t.Fatalf("-alerts: %q is not one of day, chaos", name)
			}
			p := startPrometheus(t)
			began, out := time.Now(), t.TempDir()
			args := append([]string{"run", "--env=kubernetes", "--context=" + *contextName, "--out=" + out,
				"--scenario=" + filepath.Join(root, "tools", "lab", "scenarios", name+".yaml")}, want.overlays...)
			if *alertClusterTool != "" {
				args = append(args, "--cluster-tool="+*alertClusterTool)
			}
			if _, err := run(t.Context(), filepath.Join(root, "bin", "lab"), args...); err != nil {
				t.Fatal(err)
			}
			r, err := results.Read(filepath.Join(out, "results.json"))
			if err != nil {
				t.Fatal(err)
			}
			firings, err := p.Firings(t.Context(), began, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			table := perPhase(r.Runs[0].Phases, firings)
			t.Logf("\n%s", table)
			if *outFolder != "" {
				file := filepath.Join(root, *outFolder, "alerts-"+name+".md")
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(table), 0o644)); err != nil {
					t.Error(err)
				}
			}
			fired := map[string]bool{}
			for _, f := range firings {
				if f.Namespace == "endpointslice" {
					fired[f.Alert] = true
				}
			}
			for _, alert := range want.fire {
				if !fired[alert] {
					t.Errorf("%s did not fire", alert)
				}
			}
			if len(want.fire) == 0 && len(fired) > 0 {
				t.Errorf("these fired for endpointslice: %v", fired)
			}
		})
	}
}

// perPhase is a table in Markdown of which alerts began to fire in which phase.
func perPhase(phases []results.Phase, firings []check.Firing) string {
	table := "| phase | alerts that began to fire, and for how long |\n| --- | --- |\n"
	for i, phase := range phases {
		var began []string
		for _, f := range firings {
			if (i == 0 || !f.From.Before(phase.StartedAt)) && (i == len(phases)-1 || f.From.Before(phases[i+1].StartedAt)) {
				began = append(began, f.String())
			}
		}
		table += fmt.Sprintf("| %s | %s |\n", phase.Name, strings.Join(began, "; "))
	}

	return table
}
