package endpointslice

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/ringhash"
	_ "google.golang.org/grpc/balancer/weightedroundrobin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
)

// backend is a gRPC server with a slice of its own.
func backend(t *testing.T, name string) *discoveryv1.EndpointSlice {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return sliceOf(name, int32(listener.Addr().(*net.TCPAddr).Port), pod(name, "127.0.0.1"))
}

func dial(t *testing.T, a *api, policy string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(target, grpc.WithResolvers(builderFor(a)), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"`+policy+`": {}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func call(t *testing.T, cc *grpc.ClientConn, options ...grpc.CallOption) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, options...)
	return err
}

var policies = []string{"round_robin", "pick_first", "weighted_round_robin", "least_request_experimental"}

func TestRPCsFailFastWithTheNameOfAServiceWithoutEndpoints(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			a := newAPI(t)
			cc := dial(t, a, policy)
			err := call(t, cc)
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `service "rng" in namespace "prod" has no EndpointSlice`) {
				t.Fatalf("got %v", err)
			}
			// One that is ready to wait waits, and gets through.
			waiting := make(chan error, 1)
			go func() { waiting <- call(t, cc, grpc.WaitForReady(true)) }()
			a.put(backend(t, "rng-1"))
			if err := <-waiting; err != nil {
				t.Errorf("waiting for an endpoint: %v", err)
			}
		})
	}
}

func TestRPCsFailFastWithTheReasonWhyThereIsNoState(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			a := newAPI(t, backend(t, "rng-1"))
			a.set(func() { a.status = map[string]int{"list": 403, "watch": 403} })
			err := call(t, dial(t, a, policy))
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `denies "list" and "watch" on "endpointslices.discovery.k8s.io"`) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestWhenNothingIsLeftConnectionsAreDroppedAndRPCsFailFast(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			a := newAPI(t, backend(t, "rng-1"), backend(t, "rng-2"))
			cc := dial(t, a, policy)
			if err := call(t, cc, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			a.remove("rng-1")
			a.remove("rng-2")
			// The servers are still there: only the state can end this.
			eventually(t, "no connection", func() bool { return cc.GetState() == connectivity.TransientFailure })
			eventually(t, "an error with the name of the Service", func() bool {
				err := call(t, cc)
				if status.Code(err) != codes.Unavailable {
					t.Fatalf("got %v", err)
				}
				return strings.Contains(err.Error(), `service "rng" in namespace "prod" has no EndpointSlice`)
			})
			waiting := make(chan error, 1)
			go func() { waiting <- call(t, cc, grpc.WaitForReady(true)) }()
			a.put(backend(t, "rng-3"))
			if err := <-waiting; err != nil {
				t.Errorf("waiting for an endpoint: %v", err)
			}
			if err := call(t, cc); err != nil {
				t.Errorf("with an endpoint: %v", err)
			}
		})
	}
}

func TestRingHashLivesThroughAServiceThatIsEmptied(t *testing.T) {
	a := newAPI(t, backend(t, "rng-1"))
	cc, err := grpc.NewClient(target, grpc.WithResolvers(builderFor(a)), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"ring_hash_experimental": {"requestHashHeader": "key"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if err := call(t, cc, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	a.remove("rng-1")
	eventually(t, "an error with the name of the Service", func() bool {
		err := call(t, cc)
		return err != nil && strings.Contains(err.Error(), `service "rng" in namespace "prod" has no EndpointSlice`)
	})
	a.put(backend(t, "rng-2"))
	if err := call(t, cc, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
}

func TestAnErrorLeavesTheConnections(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			a := newAPI(t, backend(t, "rng-1"))
			cc := dial(t, a, policy)
			if err := call(t, cc, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			requests := a.count("watch") + a.count("list")
			a.set(func() { a.status = map[string]int{"list": 403, "watch": 403} })
			a.endWatches()
			eventually(t, "denied requests", func() bool { return a.count("watch")+a.count("list") > requests+3 })
			for range 10 {
				if err := call(t, cc); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestAWrongTargetFailsRPCs(t *testing.T) {
	cc, err := grpc.NewClient("endpointslice:///rng:gr_pc", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(NewBuilder(Config{REST: &rest.Config{}, Logger: slog.New(slog.DiscardHandler)})))
	if err != nil {
		if !strings.Contains(err.Error(), `port "gr_pc"`) {
			t.Errorf("got %v", err)
		}
		return
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
	if err == nil || !strings.Contains(err.Error(), `port "gr_pc"`) {
		t.Errorf("got %v", err)
	}
}
