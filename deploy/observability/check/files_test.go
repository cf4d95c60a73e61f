package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheMetricsOfAQueryAreFoundAndNothingElse(t *testing.T) {
	for query, want := range map[string][]string{
		`sum by (namespace, app) (rate(a_total{code!="OK", x=~"b{1}"}[15s]))`:                    {"a_total"},
		`a:b:rate15s > 1.5 and on (pod) c == 0 or vector(0)`:                                     {"a:b:rate15s", "c"},
		`label_replace(rate(a_total[1m]), "app", "$1", "service", "(.*)") / on (x) group_left b`: {"a_total", "b"},
		`max by (le)(a) > bool 5 offset 5m`:                                                      {"a"},
		`time() - a > 30`:                                                                        {"a"},
	} {
		if diff := cmp.Diff(want, Metrics(query)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", query, diff)
		}
	}
}

func TestAQueryIsAskedWhereItsMetricsAre(t *testing.T) {
	for query, want := range map[string]string{
		"sum(srv_resolver_endpoints)":                    "dns-srv",
		"rate(consistent_hash_picks_total[1m])":          "consistent-hash",
		"max(endpointslice_resolver_endpoints) / up":     "endpointslice",
		"sum(rate(grpc_server_call_started_total[15s]))": "endpointslice",
	} {
		if got := Overlay(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}
