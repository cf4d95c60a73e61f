package observability_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/evenkeel/evenkeel/deploy/observability/check"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

func dashboards(t *testing.T) []check.Dashboard {
	t.Helper()
	all, err := check.Dashboards("grafana/dashboards")
	if err != nil {
		t.Fatal(err)
	}

	return all
}

func TestGrafanaIsGivenEveryDashboard(t *testing.T) {
	kustomization, ids := read(t, "grafana/kustomization.yaml"), map[string]bool{}
	for _, d := range dashboards(t) {
		if !strings.Contains(kustomization, "- dashboards/"+d.File+"\n") {
			t.Errorf("kustomization.yaml does not have %s", d.File)
		}
		if want := "evenkeel-" + strings.TrimSuffix(d.File, ".json"); d.UID != want || ids[d.UID] || d.Title == "" || d.Description == "" {
			t.Errorf("%s: uid %q, want %q, once, with a title and a description", d.File, d.UID, want)
		}
		ids[d.UID] = true
	}
}

func TestEveryPanelSaysWhatItShows(t *testing.T) {
	for _, d := range dashboards(t) {
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if p.ID <= 0 || ids[p.ID] {
				t.Errorf("%s: panel %q: the id %d is none, or is another's too", d.File, p.Title, p.ID)
			}
			ids[p.ID] = true
			if p.Title == "" || len(p.Description) < 20 || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: panel %d lacks a title, a description or a unit", d.File, p.ID)
			}
			if p.Type != "timeseries" && p.Type != "stat" {
				t.Errorf("%s: panel %q is a %q", d.File, p.Title, p.Type)
			}
		}
	}
}

func TestNoPanelLiesOnAnother(t *testing.T) {
	for _, d := range dashboards(t) {
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			g := p.GridPos
			if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
				t.Errorf("%s: panel %q is at %v, and a row has 24 columns", d.File, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, is := taken[[2]int{x, y}]; is {
						t.Fatalf("%s: %q lies on %q", d.File, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

func TestEveryQueryIsOfTheOverlayThatWasChosen(t *testing.T) {
	for _, d := range dashboards(t) {
		var names []string
		for _, v := range d.Templating.List {
			names = append(names, v.Name)
		}
		if strings.Join(names, " ") != "datasource namespace app" {
			t.Errorf("%s has the variables %v", d.File, names)
		}
		for _, p := range d.Panels {
			if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %q: data source %q, %d queries", d.File, p.Title, p.Datasource.UID, len(p.Targets))
			}
			for _, target := range p.Targets {
				if !strings.Contains(target.Expr, `namespace="$namespace"`) {
					t.Errorf("%s: panel %q: every namespace is in %s", d.File, p.Title, target.Expr)
				}
				if rest := target.Filled("n", "a"); strings.Contains(rest, "$") {
					t.Errorf("%s: panel %q: a variable that the dashboard does not have: %s", d.File, p.Title, rest)
				}
			}
		}
	}
}

func TestADotOnALatencyPanelLeadsToItsTrace(t *testing.T) {
	var provisioned struct {
		Datasources []struct {
			UID, Type, URL string
			JSONData       struct {
				ExemplarTraceIDDestinations []struct{ Name, DatasourceUID, URL string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "grafana/provisioning/datasources.yaml")), &provisioned); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, source := range provisioned.Datasources {
		types[source.UID] = source.Type
	}
	for _, source := range provisioned.Datasources {
		for _, to := range source.JSONData.ExemplarTraceIDDestinations {
			if to.Name != "trace_id" || (to.URL == "") == (to.DatasourceUID == "") || (to.DatasourceUID != "" && types[to.DatasourceUID] != "jaeger") {
				t.Errorf("an exemplar leads to %v", to)
			}
		}
		if source.Type == "prometheus" && len(source.JSONData.ExemplarTraceIDDestinations) == 0 {
			t.Error("no exemplar leads anywhere")
		}
	}
	if text := read(t, "grafana/dashboards/rollout.json"); strings.Count(text, `"exemplar": true`) < 2 {
		t.Error("the latency panels do not ask for exemplars")
	}
}
