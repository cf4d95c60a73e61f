package endpointslice_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/resolver/endpointslice"
)

// Outside a cluster, or with an API server of one's own, the configuration is given. Inside, the import is enough.
func ExampleNewBuilder() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	defer server.Stop()

	// What stands here for the API server knows one pod.
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"type":"ADDED","object":{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
			"metadata":{"name":"rng-headless-x7k2p","namespace":"prod","resourceVersion":"1"},"addressType":"IPv4",
			"ports":[{"name":"grpc","port":%d}],"endpoints":[{"addresses":["127.0.0.1"]}]}}
			{"type":"BOOKMARK","object":{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
			"metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}`,
			listener.Addr().(*net.TCPAddr).Port)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer api.Close()

	builder := endpointslice.NewBuilder(endpointslice.Config{
		REST:   &rest.Config{Host: api.URL},
		Logger: slog.New(slog.DiscardHandler),
	})
	conn, err := grpc.NewClient("endpointslice:///rng-headless.prod:grpc",
		grpc.WithResolvers(builder),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

// A program can check a target when it reads its flags.
func ExampleParseTarget() {
	u, err := url.Parse("endpointslice://prod/rng-headless:grpc?zone=prefer&zoneMinimum=3")
	if err != nil {
		panic(err)
	}
	target, err := endpointslice.ParseTarget(*u)
	fmt.Printf("%+v %v\n", target, err)

	u.RawQuery = "zone=only"
	_, err = endpointslice.ParseTarget(*u)
	fmt.Println(err)
	// Output:
	// {Service:rng-headless Namespace:prod Domain: Port:grpc PreferZone:true ZoneMinimum:3} <nil>
	// endpointslice: target "endpointslice://prod/rng-headless:grpc?zone=only": zone="only" in the query: must be "prefer"
}
