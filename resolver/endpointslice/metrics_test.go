package endpointslice

import (
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

// gathered is what the collector has for prod/rng: "name" or "name label" to value.
func gathered(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var name strings.Builder
			name.WriteString(strings.TrimPrefix(family.GetName(), "endpointslice_resolver_"))
			var names []string
			for _, label := range metric.GetLabel() {
				switch names = append(names, label.GetName()+"="+label.GetValue()); label.GetName() {
				case "reason", "state":
					name.WriteString(" " + label.GetValue())
				}
			}
			if !strings.HasPrefix(strings.Join(names, ","), "namespace=prod,") || !strings.Contains(strings.Join(names, ","), "service=rng") {
				t.Errorf("%s: labels %v", name.String(), names)
			}
			values[name.String()] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return values
}

func TestMetricsFollowTheService(t *testing.T) {
	a := newAPI(t, sliceOf("rng-4", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2", unready), pod("c", "10.0.0.3", leaving), pod("d", "10.0.0.4", left)),
		sliceOf("rng-6", 8081, pod("a", "fd00::1")))
	clock := clocktesting.NewFakeClock(time.Now())
	before := gathered(t)
	since := func(name string) float64 { return gathered(t)[name] - before[name] }
	c := resolve(t, NewBuilder(Config{REST: &rest.Config{Host: a.URL}, Namespace: "prod", Clock: clock, Logger: slog.New(slog.DiscardHandler)}), target)
	c.wantEndpoints(t, "10.0.0.1:8081+[fd00::1]:8081")
	eventually(t, "a watch", func() bool { return a.watchers() == 1 })
	clock.Step(1500 * time.Millisecond)
	gauges := gathered(t)
	maps.DeleteFunc(gauges, func(name string, _ float64) bool { return strings.Contains(name, "_total") })
	if diff := cmp.Diff(map[string]float64{
		"endpoints ready": 1, "endpoints not_ready": 1, "endpoints serving_terminating": 1, "endpoints terminating": 1,
		"last_event_age_seconds": 1.5,
	}, gauges); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := since("updates_total"); got != 1 {
		t.Errorf("%v updates, want 1", got)
	}

	a.remove("rng-4")
	a.remove("rng-6")
	advance(t, clock, "the loss of all", func() bool { return since("errors_total no_slice") == 1 })
	a.set(func() { a.status = map[string]int{"list": 403, "watch": 403} })
	a.endWatches()
	eventually(t, "the restart", func() bool { return since("watch_restarts_total closed") == 1 })
	advance(t, clock, "the error", func() bool { return since("errors_total forbidden") >= 1 })
	a.set(func() { a.status = map[string]int{}; a.noState = true; a.gone = true })
	advance(t, clock, "the expiry", func() bool { return since("watch_restarts_total expired") == 1 })
}

func TestAServiceThatIsNotWatchedHasCountersOnly(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	t.Run("watched", func(t *testing.T) {
		resolve(t, builderFor(a), target).wantEndpoints(t, "10.0.0.1:8081")
		if got, ok := gathered(t)["endpoints ready"]; !ok || got != 1 {
			t.Errorf("%v ready", got)
		}
	})
	left := gathered(t)
	if _, ok := left["endpoints ready"]; ok {
		t.Error("endpoints are left")
	}
	if _, ok := left["last_event_age_seconds"]; ok {
		t.Error("the age is left")
	}
	if left["updates_total"] == 0 {
		t.Error("no counter")
	}
}
