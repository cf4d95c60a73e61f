package srv

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/grpc/resolver"
)

// alone gives a test a registry without what other tests left.
func alone(t *testing.T) {
	t.Helper()
	before := registry
	registry = newCollector()
	t.Cleanup(func() { registry = before })
}

func gather(t *testing.T) []string {
	t.Helper()
	metrics := prometheus.NewPedanticRegistry()
	metrics.MustRegister(Collector())
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	var lines []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			value := metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			lines = append(lines, fmt.Sprint(family.GetName(), " ", strings.Join(labels, " "), " ", value))
		}
	}

	return lines
}

func TestMetricsTellHowATargetFares(t *testing.T) {
	alone(t)
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{}, pods("30", "10.1.0.1", "10.1.0.2"))
		after(10 * time.Second)
		want := `
srv_resolver_answer_age_seconds rng.test. grpc 10
srv_resolver_endpoints rng.test. grpc 2
srv_resolver_lookups_total rng.test. grpc empty 0
srv_resolver_lookups_total rng.test. grpc failed 0
srv_resolver_lookups_total rng.test. grpc ok 1
srv_resolver_lookups_total rng.test. grpc partial 0
srv_resolver_next_lookup_seconds rng.test. grpc 20
srv_resolver_updates_total rng.test. grpc 1
`
		if diff := cmp.Diff(strings.Fields(want), strings.Fields(strings.Join(gather(t), "\n"))); diff != "" {
			t.Errorf("after an answer (-want +got):\n%s", diff)
		}
		f.set(first, fails(dns.RcodeServerFailure))
		after(20 * time.Second)
		f.set(first, zone())
		after(800 * time.Millisecond)
		second := &builder{config: Config{Server: first, Logger: quiet}, exchange: newNetwork().exchange, random: func() float64 { return 0 }}
		r, err := second.Build(resolver.Target{URL: mustParse(t, "srv:///rng.test.:grpc")}, new(channel), resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want = `
srv_resolver_answer_age_seconds rng.test. grpc 0
srv_resolver_endpoints rng.test. grpc 0
srv_resolver_lookups_total rng.test. grpc empty 1
srv_resolver_lookups_total rng.test. grpc failed 2
srv_resolver_lookups_total rng.test. grpc ok 1
srv_resolver_lookups_total rng.test. grpc partial 0
srv_resolver_next_lookup_seconds rng.test. grpc 0.8
srv_resolver_updates_total rng.test. grpc 2
`
		if diff := cmp.Diff(strings.Fields(want), strings.Fields(strings.Join(gather(t), "\n"))); diff != "" {
			t.Errorf("after a failure, an empty answer, and a second channel that only fails (-want +got):\n%s", diff)
		}
		r.Close()
		f.resolver.Close()
		for _, line := range gather(t) {
			if !strings.Contains(line, "_total ") {
				t.Errorf("%s is left of channels that are closed", line)
			}
		}
	})
}

func TestTheWorstOfSeveralChannelsCounts(t *testing.T) {
	alone(t)
	now := time.Now()
	target := Target{Name: "rng", Port: "grpc"}
	for _, s := range []status{
		{endpoints: 3, answered: now.Add(-time.Second), next: now.Add(time.Second)},
		{endpoints: 2, answered: now.Add(-time.Minute), next: now.Add(time.Minute)},
		{},
	} {
		registry.add(&srvResolver{target: target, status: s})
	}
	got := registry.statuses()[target]
	if got.endpoints != 2 || !got.answered.Equal(now.Add(-time.Minute)) || !got.next.Equal(now.Add(time.Second)) {
		t.Errorf("%+v", got)
	}
}
