package channel_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	experimental "google.golang.org/grpc/experimental/opentelemetry"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/stats/opentelemetry"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/services/client/channel"
)

// pod is a server that says who it is, and fails its first RPCs as a pod that goes away does.
type pod struct {
	grpc_health_v1.UnimplementedHealthServer

	mu    sync.Mutex
	fails int
	names []string // who served, RPC by RPC; the last one goes on
}

func (p *pod) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := metadata.Pairs("x-served-by", p.names[0], "x-served-by-node", "node1", "x-served-by-zone", "zone-a")
	if len(p.names) > 1 {
		p.names = p.names[1:]
	}
	if p.fails > 0 {
		p.fails--
		if err := grpc.SetTrailer(ctx, who); err != nil {
			return nil, err
		}

		return nil, status.Error(codes.Unavailable, "draining")
	}

	return &grpc_health_v1.HealthCheckResponse{}, grpc.SetHeader(ctx, who)
}

// start serves the pod until the test ends or stop is called, which tells clients to go away.
func start(t *testing.T, p *pod) (target string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, p)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	stop = sync.OnceFunc(func() {
		server.GracefulStop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)

	return "dns:///" + listener.Addr().String(), stop
}

func TestARetriedRPCShowsBothAttemptsWithTheirPods(t *testing.T) {
	target, _ := start(t, &pod{fails: 1, names: []string{"rng-old", "rng-new"}})
	strategy := channel.Strategy{Target: target, ServiceConfig: `{"loadBalancingConfig": [{"round_robin": {}}],
		"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s",
		"backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`}
	ended := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ended))
	conn, err := channel.New(strategy, channel.Annotate(strategy, opentelemetry.DialOption(opentelemetry.Options{
		TraceOptions: experimental.TraceOptions{TracerProvider: provider, TextMapPropagator: propagation.TraceContext{}},
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}

	var got []map[string]any
	for _, span := range ended.Ended() {
		attributes := map[string]any{"span": span.Name()}
		for _, a := range span.Attributes() {
			if a.Key != "network.peer.port" { // any
				attributes[string(a.Key)] = a.Value.AsInterface()
			}
		}
		got = append(got, attributes)
	}
	attempt := func(pod string, previous, code int64) map[string]any {
		return map[string]any{
			"span": "Attempt.grpc.health.v1.Health.Check", "previous-rpc-attempts": previous, "transparent-retry": false,
			"evenkeel.pod": pod, "evenkeel.node": "node1", "evenkeel.zone": "zone-a", "network.peer.address": "127.0.0.1",
			"rpc.grpc.status_code": code,
		}
	}
	want := []map[string]any{
		attempt("rng-old", 0, int64(codes.Unavailable)),
		attempt("rng-new", 1, 0),
		{
			"span": "Sent.grpc.health.v1.Health.Check", "rpc.system": "grpc", "evenkeel.strategy": "dns round_robin",
			"grpc.target": target, "grpc.lb_policy": "round_robin", "rpc.grpc.status_code": int64(0),
		},
	}
	// That an address has to be looked at takes no time, or hardly any.
	want[2]["evenkeel.name_resolution_delayed"] = got[2]["evenkeel.name_resolution_delayed"].(bool)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := ended.Ended()[0].Status(); s.Description != "draining" {
		t.Errorf("status of the attempt that failed: %+v", s)
	}
	if a := attribute.NewSet(ended.Ended()[0].Attributes()...); !a.HasValue("network.peer.port") {
		t.Error("no port")
	}
}

func TestAPolicyIsTheOneThatGRPCTakes(t *testing.T) {
	for config, want := range map[string]string{
		"":                                       "dns pick_first",
		`{"loadBalancingPolicy": "round_robin"}`: "dns round_robin",
		`{"loadBalancingConfig": [{"consistent_hash": {}}, {"round_robin": {}}]}`:        "dns consistent_hash",
		`{"methodConfig": [], "loadBalancingConfig": [{"weighted_round_robin": {}}]}`:    "dns weighted_round_robin",
		`{"loadBalancingConfig": [], "loadBalancingPolicy": "ring_hash_experimental"}`:   "dns ring_hash_experimental",
		`{"loadBalancingConfig": [{"round_robin": {}}], "loadBalancingPolicy": "wrong"}`: "dns round_robin",
	} {
		if got := (channel.Strategy{Target: "dns:///rng:8081", ServiceConfig: config}).String(); got != want {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
	for target, want := range map[string]string{
		"rng:8081": "dns pick_first", "127.0.0.1:8081": "dns pick_first",
		"endpointslice:///rng-headless:grpc": "endpointslice pick_first", "SRV:///rng:grpc": "srv pick_first",
	} {
		if got := (channel.Strategy{Target: target}).String(); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// silent is a stats.Handler.
type silent struct{}

func (silent) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (silent) HandleRPC(context.Context, stats.RPCStats)                         {}
func (silent) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (silent) HandleConn(context.Context, stats.ConnStats)                       {}

func TestConnectionsAreCountedWithWhyTheyEnded(t *testing.T) {
	target, stop := start(t, &pod{names: []string{"rng-0"}})
	registry := prometheus.NewRegistry()
	ended := make(chan string, 1)
	conn, err := channel.New(channel.Strategy{Target: target},
		grpc.WithStatsHandler(channel.NewSubchannels(registry).Around(silent{}, func(why string) { ended <- why })))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	value := func(name string) float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
			}
		}

		return 0
	}
	// gRPC counts a connection once it may be used, so an RPC may be over by then.
	for value("grpc_subchannel_open_connections") != 1 {
		if ctx.Err() != nil {
			t.Fatal("no connection is open")
		}
	}
	if succeeded := value("grpc_subchannel_connection_attempts_succeeded_total"); succeeded != 1 {
		t.Errorf("%v made", succeeded)
	}
	stop()
	select {
	case why := <-ended:
		if why != "GOAWAY NO_ERROR" {
			t.Errorf("ended: %q", why)
		}
	case <-ctx.Done():
		t.Fatal("nobody said that the connection ended")
	}
	if n := value("grpc_subchannel_disconnections_total"); n != 1 {
		t.Errorf("%v disconnections", n)
	}
}
