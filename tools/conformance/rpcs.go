package conformance

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// What RPCs on a real channel to real backends come to. They take real time.
var rpcBehaviours = []Behaviour{
	{Name: "RPCs go to the endpoints, and to others when those have changed", Sockets: true, drive: func(ctx context.Context, s *stage) error {
		return s.calls(ctx, func(ctx context.Context, client *caller) error {
			for range 2 {
				b, err := listen(s.cluster.BackendHost())
				if err != nil {
					return err
				}
				defer b.stop()
				if err := s.service.set(ctx, b.slice()); err != nil {
					return err
				}
				if err := client.reaches(ctx, b); err != nil {
					return err
				}
			}

			return nil
		})
	}},
	{Name: "A channel to a Service without endpoints: RPCs fail at once with UNAVAILABLE, which names the Service", Sockets: true, drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx, sliceOf("a")); err != nil {
			return err
		}

		return s.calls(ctx, func(ctx context.Context, client *caller) error { return client.unavailable(ctx) })
	}},
	{Name: "A Service that is scaled to zero: RPCs fail at once with UNAVAILABLE, which names the Service", Sockets: true, drive: func(ctx context.Context, s *stage) error {
		return s.calls(ctx, func(ctx context.Context, client *caller) error {
			b, err := listen(s.cluster.BackendHost())
			if err != nil {
				return err
			}
			defer b.stop()
			if err := s.service.set(ctx, b.slice()); err != nil {
				return err
			}
			if err := client.reaches(ctx, b); err != nil {
				return err
			}
			if err := s.service.set(ctx, sliceOf("a")); err != nil {
				return err
			}
			b.stop()

			return client.unavailable(ctx)
		})
	}},
	{Name: "Without endpoints, an RPC that waits for ready is answered as soon as there is one", Sockets: true, drive: func(ctx context.Context, s *stage) error {
		return s.calls(ctx, func(ctx context.Context, client *caller) error {
			if err := s.service.set(ctx, sliceOf("a")); err != nil {
				return err
			}
			b, err := listen(s.cluster.BackendHost())
			if err != nil {
				return err
			}
			defer b.stop()
			waiting := make(chan error, 1)
			go func() {
				_, err := client.call(ctx, grpc.WaitForReady(true))
				waiting <- err
			}()
			// Long enough for it to have failed.
			timer := time.NewTimer(200 * time.Millisecond)
			defer timer.Stop()
			select {
			case err := <-waiting:
				return fmt.Errorf("it did not wait: %s", inWords(err))
			case <-timer.C:
			}
			if err := s.service.set(ctx, b.slice()); err != nil {
				return err
			}
			if err := <-waiting; err != nil {
				return fmt.Errorf("it ended with %s", inWords(err))
			}

			return nil
		})
	}},
}

// caller makes RPCs on a channel of its own.
type caller struct {
	health  healthpb.HealthClient
	service *service
	soon    time.Duration
}

// The policies under which RPCs are made: pick_first is what a channel has without a service config, and round_robin
// stands for those that are made of it. They treat errors of resolvers differently.
var policies = []string{"round_robin", "pick_first"}

// calls runs a function with a channel to the Service, under each policy.
func (s *stage) calls(ctx context.Context, run func(context.Context, *caller) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.limit(20*time.Second))
	defer cancel()
	builder, err := s.builder(Settings{})
	if err != nil {
		return err
	}
	for _, policy := range policies {
		conn, err := grpc.NewClient(s.resolver.Scheme+"://"+s.targetOf("grpc"),
			grpc.WithResolvers(builder), grpc.WithNoProxy(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"`+policy+`": {}}]}`))
		if err != nil {
			return fmt.Errorf("make a channel: %w", err)
		}
		err = run(ctx, &caller{healthpb.NewHealthClient(conn), s.service, s.limit(soon)})
		_ = conn.Close() // its error is that it is closed already
		if err != nil {
			return fmt.Errorf("%s: %w", policy, err)
		}
	}

	return nil
}

// call makes one RPC and says who answered.
func (c *caller) call(ctx context.Context, options ...grpc.CallOption) (string, error) {
	var from peer.Peer
	if _, err := c.health.Check(ctx, &healthpb.HealthCheckRequest{}, append(options, grpc.Peer(&from))...); err != nil {
		return "", err
	}

	return from.Addr.String(), nil
}

// reaches calls until a backend answers.
func (c *caller) reaches(ctx context.Context, b *backend) error {
	for {
		who, err := c.call(ctx, grpc.WaitForReady(true))
		if err != nil {
			return fmt.Errorf("no answer from the backend: %s", inWords(err))
		}
		if who == b.address() {
			return nil
		}
	}
}

// unavailable wants RPCs to fail with UNAVAILABLE and the name of the Service, within 2 s. Until the news is there,
// they may fail otherwise.
func (c *caller) unavailable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.soon)
	defer cancel()
	var last error
	for {
		_, err := c.call(ctx)
		if ctx.Err() != nil && last != nil {
			return fmt.Errorf("RPCs fail with %s", inWords(last))
		}
		if s := status.Convert(err); s.Code() == codes.Unavailable && strings.Contains(s.Message(), c.service.name) && strings.Contains(s.Message(), c.service.namespace) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("RPCs hang: after %v s %s", c.soon.Seconds(), inWords(err))
		}
		last = err
		pass(ctx, time.Millisecond)
	}
}

// inWords leaves out what differs from run to run.
func inWords(err error) string {
	s := status.Convert(err)
	text := s.Message()
	for _, known := range []string{"connection refused", "received context error while waiting for new LB policy update", "deadline exceeded"} {
		if strings.Contains(text, known) {
			text = known
		}
	}

	return fmt.Sprintf("%s (%s)", codeName(s.Code()), text)
}

// codeName is the code as the gRPC specification spells it.
func codeName(code codes.Code) string {
	var name strings.Builder
	for i, r := range code.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(r)
	}

	return strings.ToUpper(name.String())
}

// backend is a gRPC server.
type backend struct {
	listener net.Listener
	server   *grpc.Server
	served   chan struct{} // closed when it no longer serves
}

func listen(host string) (*backend, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen for a backend: %w", err)
	}
	b := &backend{listener: listener, server: grpc.NewServer(), served: make(chan struct{})}
	healthpb.RegisterHealthServer(b.server, health.NewServer())
	go func() {
		defer close(b.served)
		_ = b.server.Serve(listener) // until stop; if not, the RPCs say so
	}()

	return b, nil
}

// stop may be called twice.
func (b *backend) stop() {
	b.server.Stop()
	<-b.served
}

func (b *backend) address() string { return b.listener.Addr().String() }

// slice has the backend as its only endpoint.
func (b *backend) slice() slice {
	host, number, _ := net.SplitHostPort(b.address())
	n, _ := strconv.ParseInt(number, 10, 32)

	return slice{name: "a", pods: at(host), ports: []port{{"grpc", int32(n)}}}
}
