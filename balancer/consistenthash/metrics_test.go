package consistenthash_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/balancer/consistenthash"
)

// gather returns the values of all metrics, by name and outcome.
func gather(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(consistenthash.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = metric.GetCounter().GetValue()
		}
	}
	return values
}

func TestPicksAreCountedByOutcome(t *testing.T) {
	pods := addresses(4)
	endpoints := endpointsAt(pods...)
	reference := newChannel(t, "consistent_hash")
	reference.update(t, unbounded, endpoints...)
	owners := reference.owners(t, keys(100))

	before := gather(t)
	c := newChannel(t, "consistent_hash")
	c.hang(pods[0], true)
	c.refuse(pods[1], errRefused)
	c.update(t, bounded, endpoints...)
	ask := func(ctx context.Context) func() {
		_, done, _ := pickFrom(ctx, c.state().Picker) //nolint:contextcheck // what becomes of it is counted
		return done
	}

	ask(withHeader(keyOf(owners, pods[0]))) // waits
	first := ask(withHeader(keyOf(owners, pods[2])))
	second := ask(withHeader(keyOf(owners, pods[2])))
	ask(withHeader(keyOf(owners, pods[2]))) // the third of three on two endpoints: the bound is 2
	first()
	second()
	ask(context.Background()) // no key
	steps := 0
	for user, owner := range owners {
		if owner == pods[1] && steps < 3 {
			steps++
			if done := ask(withHeader(user)); done != nil {
				done()
			}
		}
	}
	c.update(t, `{"missingKey": "random", "loadFactor": 0}`, endpoints...)
	ask(context.Background())
	c.update(t, unbounded, endpointsAt(pods[1])...)
	ask(withHeader("k")) // all of one endpoint is in TRANSIENT_FAILURE

	got := map[string]float64{}
	for name, value := range gather(t) {
		got[name] = value - before[name]
	}
	if got["consistent_hash_ring_build_seconds_total"] <= 0 {
		t.Error("building rings took no time")
	}
	delete(got, "consistent_hash_ring_build_seconds_total")
	// A step over the failing endpoint leads to one that is READY, or to the one that is connecting.
	got["consistent_hash_picks_total stepped_over"] += got["consistent_hash_picks_total queued"]
	delete(got, "consistent_hash_picks_total queued")
	want := map[string]float64{
		"consistent_hash_picks_total owner":        2,
		"consistent_hash_picks_total passed_on":    1,
		"consistent_hash_picks_total stepped_over": 3 + 1,
		"consistent_hash_picks_total missing_key":  1,
		"consistent_hash_picks_total random":       1,
		"consistent_hash_picks_total failed":       1,
		"consistent_hash_ring_builds_total":        2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestTheMetricsAreFixedInNumber(t *testing.T) {
	before := len(gather(t))
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(addresses(100)...)...)
	c.owners(t, keys(500))
	if after := len(gather(t)); after != before {
		t.Errorf("100 endpoints made %d time series out of %d", after, before)
	}
}
