package kustomize_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/balancer/consistenthash"
)

// strategy is a row of the design's table.
type strategy struct {
	rng, geoip string // targets
	policy     string
	services   []string
	aged       bool // the servers have a MaxConnectionAge
	retries    bool
	keepalive  bool   // the client pings
	traced     bool   // traces are sent
	watches    string // the resource of the Kubernetes API that the client watches, or ""
}

var strategies = func() map[string]strategy {
	virtualIP := strategy{
		rng: "dns:///rng:8081", geoip: "dns:///geoip:9200", policy: "pick_first",
		services: []string{"client", "geoip", "rng"},
	}
	dns := strategy{
		rng: "dns:///rng-headless:8081", geoip: "dns:///geoip-headless:9200", policy: "round_robin",
		services: []string{"client", "geoip-headless", "rng-headless"},
	}
	watch := strategy{
		rng: "kubernetes:///rng-headless:grpc", geoip: "kubernetes:///geoip-headless:grpc", policy: "round_robin",
		services: []string{"client", "geoip-headless", "rng-headless"}, watches: "endpoints",
	}
	srv := dns
	srv.rng, srv.geoip = "srv:///rng-headless:grpc", "srv:///geoip-headless:grpc"
	slice := watch
	slice.rng, slice.geoip = "endpointslice:///rng-headless:grpc", "endpointslice:///geoip-headless:grpc"
	slice.watches = "endpointslices"
	hash := slice
	hash.policy = consistenthash.Name
	aged := func(s strategy) strategy { s.aged = true; return s }
	retrying := func(s strategy) strategy { s.retries = true; return s }
	return map[string]strategy{
		"clusterip":                          virtualIP,
		"clusterip-max-connection-age":       aged(virtualIP),
		"dns-round-robin":                    dns,
		"dns-round-robin-max-connection-age": aged(dns),
		"api-watch":                          watch,
		"api-watch-retries":                  retrying(watch),
		"dns-srv":                            srv,
		"endpointslice":                      slice,
		"consistent-hash":                    hash,
	}
}()

// components says what each does to a strategy.
var components = map[string]func(*strategy){
	"max-connection-age": func(s *strategy) { s.aged = true },
	"retries":            func(s *strategy) { s.retries = true },
	"keepalive":          func(s *strategy) { s.keepalive = true },
	"tracing":            func(s *strategy) { s.traced = true },
}

// strategy is what the overlay should be, with what its components do to it.
func (v variant) strategy() strategy {
	s := strategies[v.overlay]
	for _, name := range v.components {
		if change, known := components[name]; known { // if not, the test below says so
			change(&s)
		}
	}
	return s
}

func TestTheOverlaysAndComponentsAreThoseOfTheDesign(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(maps.Keys(strategies)), folders(t, "overlays")); diff != "" {
		t.Errorf("overlays (-design +folders):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(components)), folders(t, "components")); diff != "" {
		t.Errorf("components (-design +folders):\n%s", diff)
	}
}

func TestTheClientHasTheStrategysTargetsAndServiceConfig(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		want := v.strategy()
		data := strategyOf(t, r)
		got := slices.Sorted(maps.Keys(data))
		if diff := cmp.Diff([]string{"GEOIP_SERVICE_CONFIG", "GEOIP_TARGET", "RNG_SERVICE_CONFIG", "RNG_TARGET"}, got); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if data["RNG_TARGET"] != want.rng || data["GEOIP_TARGET"] != want.geoip {
			t.Errorf("the targets are %s and %s, want %s and %s", data["RNG_TARGET"], data["GEOIP_TARGET"], want.rng, want.geoip)
		}
		if data["RNG_SERVICE_CONFIG"] != data["GEOIP_SERVICE_CONFIG"] {
			t.Errorf("rng and geoip are balanced in two ways: %s and %s", data["RNG_SERVICE_CONFIG"], data["GEOIP_SERVICE_CONFIG"])
		}
		checkServiceConfig(t, data["RNG_SERVICE_CONFIG"], want)

		client := all[*appsv1.Deployment](r)["client"].Spec.Template.Spec.Containers[0]
		if len(client.EnvFrom) != 1 || all[*corev1.ConfigMap](r)[client.EnvFrom[0].ConfigMapRef.Name] == nil {
			t.Errorf("the client's envFrom is %v, want the ConfigMap of the strategy", client.EnvFrom)
		}
	})
}

func checkServiceConfig(t *testing.T, text string, want strategy) {
	t.Helper()
	// gRPC refuses a service config that it does not understand.
	conn, err := grpc.NewClient("passthrough:///unused",
		grpc.WithDefaultServiceConfig(text), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("gRPC refuses the service config %s: %v", text, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	var config struct {
		LoadBalancingConfig []map[string]struct{}
		MethodConfig        []struct {
			Name        []map[string]string
			RetryPolicy struct {
				MaxAttempts          int
				RetryableStatusCodes []string
			}
		}
		RetryThrottling struct{ MaxTokens, TokenRatio float64 }
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[string]struct{}{{want.policy: {}}}, config.LoadBalancingConfig); diff != "" {
		t.Errorf("LB policy (-want +got):\n%s", diff)
	}
	switch {
	case !want.retries && len(config.MethodConfig) != 0:
		t.Errorf("it retries, and would hide what the strategy does: %s", text)
	case !want.retries:
	case len(config.MethodConfig) != 1 || len(config.MethodConfig[0].Name) != 1 || len(config.MethodConfig[0].Name[0]) != 0:
		t.Errorf("want one method config, for every method: %s", text)
	default:
		retry := config.MethodConfig[0].RetryPolicy
		if retry.MaxAttempts != 4 || !slices.Equal(retry.RetryableStatusCodes, []string{"UNAVAILABLE"}) {
			t.Errorf("want 4 attempts on UNAVAILABLE alone: %s", text)
		}
		if throttling := config.RetryThrottling; throttling.MaxTokens == 0 || throttling.TokenRatio == 0 {
			t.Errorf("an outage would be met with four times the load: %s", text)
		}
	}
}

func TestRetriesAddToAServiceConfigAndTakeNothingAway(t *testing.T) {
	// kustomize replaces text, and could replace too much.
	for _, overlay := range folders(t, "overlays") {
		before := strategyOf(t, render(t, variant{overlay: overlay}))
		after := strategyOf(t, render(t, variant{overlay, []string{"retries"}}))
		for _, name := range []string{"RNG_SERVICE_CONFIG", "GEOIP_SERVICE_CONFIG"} {
			configs := [2]map[string]any{}
			for i, text := range []string{before[name], after[name]} {
				if err := json.Unmarshal([]byte(text), &configs[i]); err != nil {
					t.Fatalf("%s: %s: %v in %s", overlay, name, err, text)
				}
				delete(configs[i], "methodConfig")
				delete(configs[i], "retryThrottling")
			}
			if diff := cmp.Diff(configs[0], configs[1]); diff != "" {
				t.Errorf("%s: %s (-without retries +with):\n%s", overlay, name, diff)
			}
		}
	}
}

func TestServersHangUpOnlyWhereTheStrategySaysSo(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		for _, name := range []string{"rng", "geoip"} {
			env := environment(all[*appsv1.Deployment](r)[name])
			age, hasAge := env["MAX_CONNECTION_AGE"]
			_, hasGrace := env["MAX_CONNECTION_AGE_GRACE"]
			if aged := v.strategy().aged; hasAge != aged || hasGrace != aged {
				t.Errorf("%s: a MAX_CONNECTION_AGE is %t, a grace %t, want %t", name, hasAge, hasGrace, aged)
			}
			if d, err := time.ParseDuration(age); hasAge && (err != nil || d <= 0) {
				t.Errorf("%s: MAX_CONNECTION_AGE is %q", name, age)
			}
		}
	})
}

func TestTheClientPingsOnlyWhereItIsToldToAndNoMoreOftenThanTheServersAllow(t *testing.T) {
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		env := environment(all[*appsv1.Deployment](r)["client"])
		_, hasTime := env["KEEPALIVE_TIME"]
		_, hasTimeout := env["KEEPALIVE_TIMEOUT"]
		if want := v.strategy().keepalive; hasTime != want || hasTimeout != want {
			t.Errorf("a KEEPALIVE_TIME is %t, a timeout %t, want %t", hasTime, hasTimeout, want)
		}
		const allowed = 10 * time.Second // the server kit's own KEEPALIVE_MIN_TIME
		if d, err := time.ParseDuration(env["KEEPALIVE_TIME"]); hasTime && (err != nil || d < allowed) {
			t.Errorf("KEEPALIVE_TIME is %q", env["KEEPALIVE_TIME"])
		}
		for _, name := range []string{"rng", "geoip"} {
			if least := environment(all[*appsv1.Deployment](r)[name])["KEEPALIVE_MIN_TIME"]; least != "" {
				t.Errorf("%s has a KEEPALIVE_MIN_TIME of its own: %s", name, least)
			}
		}
	})
}

func TestTracesAreSentByEveryServiceOrByNone(t *testing.T) {
	jaeger := render(t, variant{overlay: "../../deploy/observability/jaeger"})
	forEachOverlay(t, func(t *testing.T, v variant, r rendered) {
		for name, deployment := range all[*appsv1.Deployment](r) {
			env := environment(deployment)
			endpoint, sent := env["OTEL_EXPORTER_OTLP_ENDPOINT"]
			if want := v.strategy().traced; sent != want {
				t.Errorf("%s: somewhere to send traces is %t, want %t", name, sent, want)
			}
			if !sent {
				continue
			}
			if got := env["OTEL_RESOURCE_ATTRIBUTES"]; got != "service.namespace=$(POD_NAMESPACE)" {
				t.Errorf("%s: OTEL_RESOURCE_ATTRIBUTES is %q", name, got)
			}
			for _, service := range all[*corev1.Service](jaeger) {
				if want := fmt.Sprintf("http://%s.%s.svc:%d", service.Name, service.Namespace, service.Spec.Ports[0].Port); endpoint != want {
					t.Errorf("%s: traces go to %s, and Jaeger is at %s", name, endpoint, want)
				}
			}
		}
	})
}

func TestTwoOverlaysDifferInTheStrategyAlone(t *testing.T) {
	// The pods of all strategies are the same but for what makes the strategy: only
	// then are their figures comparable.
	plain := all[*appsv1.Deployment](render(t, variant{overlay: "clusterip"}))
	forEachOverlay(t, func(t *testing.T, _ variant, r rendered) {
		for name, deployment := range all[*appsv1.Deployment](r) {
			got, want := deployment.DeepCopy(), plain[name].DeepCopy()
			for _, each := range []*appsv1.Deployment{got, want} {
				each.Namespace = ""
				spec := &each.Spec.Template.Spec
				spec.AutomountServiceAccountToken = nil
				container := &spec.Containers[0]
				container.EnvFrom = nil
				container.Env = slices.DeleteFunc(container.Env, func(e corev1.EnvVar) bool {
					return strings.HasPrefix(e.Name, "MAX_CONNECTION_AGE") ||
						strings.HasPrefix(e.Name, "OTEL_") || e.Name == "POD_NAMESPACE" ||
						name == "client" && strings.HasPrefix(e.Name, "KEEPALIVE_TIME")
				})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Deployment %s (-clusterip +this):\n%s", name, diff)
			}
		}
	})
}
