// Package channel makes a gRPC channel of a strategy: a target and a service
// config, and nothing else.
//
// Name resolvers and LB policies are there because they are imported here. No code
// knows one from another.
package channel

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	_ "google.golang.org/grpc/balancer/leastrequest"       // least_request_experimental
	_ "google.golang.org/grpc/balancer/randomsubsetting"   // random_subsetting_experimental
	_ "google.golang.org/grpc/balancer/ringhash"           // ring_hash_experimental
	_ "google.golang.org/grpc/balancer/weightedroundrobin" // weighted_round_robin
	_ "google.golang.org/grpc/health"                      // healthCheckConfig

	"github.com/evenkeel/evenkeel/balancer/consistenthash" // consistent_hash
	"github.com/evenkeel/evenkeel/resolver/endpointslice"
	"github.com/evenkeel/evenkeel/resolver/srv"
)

// Strategy is how a client finds and balances its backends.
type Strategy struct {
	// Target is a target URI, such as "dns:///rng-headless:8081".
	Target string
	// ServiceConfig is a gRPC service config in JSON. Empty means gRPC's own: pick_first,
	// no retries.
	ServiceConfig string
}

// Keepalive is when a connection counts as dead (gRFC A8). It is not a part of a service config, so a
// program has to have it.
type Keepalive struct {
	// Time is after how long a silence the server is pinged; gRPC makes at least 10 s of it. 0 is never.
	Time time.Duration
	// Timeout is how long the answer may take. It is also how long data that was sent may stay without an
	// acknowledgement (gRFC A18, TCP_USER_TIMEOUT on Linux).
	Timeout time.Duration
}

// DialOption has a channel do so, if at all.
func (k Keepalive) DialOption() grpc.DialOption {
	if k.Time == 0 {
		return grpc.EmptyDialOption{}
	}

	return grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: k.Time, Timeout: k.Timeout})
}

// New makes a channel. No I/O is done before its first RPC.
func New(s Strategy, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The service config is the strategy's. Asking DNS for another one would only
		// cost TXT queries.
		grpc.WithDisableServiceConfig(),
	}, options...)
	if s.ServiceConfig != "" {
		all = append(all, grpc.WithDefaultServiceConfig(s.ServiceConfig))
	}
	conn, err := grpc.NewClient(s.Target, all...)
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", s.Target, err)
	}

	return conn, nil
}

// Collectors have the metrics of those resolvers and LB policies that keep some, for
// all channels of the process.
func Collectors() []prometheus.Collector {
	return []prometheus.Collector{endpointslice.Collector(), srv.Collector(), consistenthash.Collector()}
}
