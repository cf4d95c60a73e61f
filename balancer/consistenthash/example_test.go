package consistenthash_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/evenkeel/evenkeel/balancer/consistenthash"
)

// Three servers, and a client whose RPCs go to one of them by key. Importing
// the package is what registers the policy.
func ExampleWithKey() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	servers, stop := startServers(3)
	defer stop()

	conn, err := grpc.NewClient("example:///shop",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(servers), // in a cluster: the DNS resolver, or one that watches the API
		grpc.WithDefaultServiceConfig(`{
			"loadBalancingConfig": [{
				"consistent_hash": {"requestHashHeader": "x-user-id", "loadFactor": 1.25, "minCapacity": 4}
			}]
		}`))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	client := healthpb.NewHealthClient(conn)
	ask := func(ctx context.Context) string {
		var server peer.Peer
		if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&server)); err != nil {
			log.Fatal(err)
		}
		return server.Addr.String()
	}

	alice := consistenthash.WithKey(ctx, "alice")
	first := ask(alice)
	second := ask(alice)
	fmt.Println("Alice's RPCs stay on one server:", second == first)

	header := metadata.AppendToOutgoingContext(ctx, "x-user-id", "alice")
	fmt.Println("Her key in the request header leads there too:", ask(header) == first)

	used := map[string]bool{}
	for i := range 100 {
		used[ask(consistenthash.WithKey(ctx, fmt.Sprintf("user-%d", i)))] = true
	}
	fmt.Println("A hundred users are served by", len(used), "servers")
	// Output:
	// Alice's RPCs stay on one server: true
	// Her key in the request header leads there too: true
	// A hundred users are served by 3 servers
}

func startServers(n int) (found *manual.Resolver, stop func()) {
	found = manual.NewBuilderWithScheme("example")
	var state resolver.State
	var servers []*grpc.Server
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		server := grpc.NewServer()
		healthpb.RegisterHealthServer(server, health.NewServer())
		go func() {
			if err := server.Serve(listener); err != nil {
				log.Print(err)
			}
		}()
		servers = append(servers, server)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: listener.Addr().String()}}})
	}
	found.InitialState(state)
	return found, func() {
		for _, server := range servers {
			server.Stop()
		}
	}
}

func ExampleCollector() {
	registry := prometheus.NewRegistry()
	registry.MustRegister(consistenthash.Collector())
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		fmt.Println(family.GetName())
	}
	// Output:
	// consistent_hash_picks_total
	// consistent_hash_ring_build_seconds_total
	// consistent_hash_ring_builds_total
}
