package consistenthash_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/evenkeel/evenkeel/balancer/consistenthash"
)

// fleet is a number of real gRPC servers and a real channel to them.
type fleet struct {
	backends []*backend
	arrivals chan *held // requests that a backend has begun to hold
	sent     sync.Map   // of those that are to be held, by name: chan struct{}, closed when answered
	calls    sync.WaitGroup
	channel  *grpc.ClientConn
	resolver *manual.Resolver
}

// backend answers with its address: at once, or when a request that is to be held
// is released.
type backend struct {
	fleet    *fleet
	address  string
	server   *grpc.Server
	served   chan struct{} // closed when it has stopped
	inFlight atomic.Int64
}

// held is a request that a backend holds.
type held struct {
	on       *backend
	release  chan struct{} // closed by the test
	answered chan struct{} // closed when the client has the answer
}

// end waits until the client has the answer; the policy has counted the request
// out before that.
func (h *held) end() {
	close(h.release)
	<-h.answered
}

func newFleet(t *testing.T, n int, config string) *fleet {
	t.Helper()
	f := &fleet{arrivals: make(chan *held, 1000), resolver: manual.NewBuilderWithScheme("fleet")}
	for range n {
		b := &backend{fleet: f}
		b.start(t, "127.0.0.1:0")
		f.backends = append(f.backends, b)
	}
	t.Cleanup(func() {
		for _, b := range f.backends {
			b.stop()
		}
	})
	f.resolver.InitialState(f.listing(n))
	channel, err := grpc.NewClient("fleet:///backends",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(f.resolver),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig": [{"consistent_hash": %s}]}`, config)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond},
			MinConnectTimeout: patience,
		}))
	if err != nil {
		t.Fatal(err)
	}
	f.channel = channel
	t.Cleanup(func() {
		if err := channel.Close(); err != nil {
			t.Error(err)
		}
		f.calls.Wait()
	})
	return f
}

// listing is the resolver's result with the first n backends.
func (f *fleet) listing(n int) resolver.State {
	var state resolver.State
	for _, b := range f.backends[:n] {
		state.Endpoints = append(state.Endpoints, endpointsAt(b.address)...)
	}
	return state
}

func (b *backend) start(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b.address = listener.Addr().String()
	b.server = grpc.NewServer(grpc.UnknownServiceHandler(b.handle))
	served := make(chan struct{})
	b.served = served
	go func() {
		defer close(served)
		// A test may be over before this begins.
		if err := b.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	}()
}

func (b *backend) stop() {
	b.server.Stop()
	<-b.served
}

func (b *backend) handle(_ any, stream grpc.ServerStream) error {
	var request wrapperspb.StringValue
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if answered, hold := b.fleet.sent.Load(request.GetValue()); hold {
		b.inFlight.Add(1)
		h := &held{on: b, release: make(chan struct{}), answered: answered.(chan struct{})}
		b.fleet.arrivals <- h
		select {
		case <-h.release:
		case <-stream.Context().Done():
		}
		b.inFlight.Add(-1)
	}
	return stream.SendMsg(wrapperspb.String(b.address))
}

// call sends an RPC and returns who answered.
func (f *fleet) call(ctx context.Context, request, key string) (string, error) {
	var answer wrapperspb.StringValue
	err := f.channel.Invoke(consistenthash.WithKey(ctx, key), "/test.Backend/Call", wrapperspb.String(request), &answer, grpc.WaitForReady(true))
	return answer.GetValue(), err
}

// connect waits until every backend has answered.
func (f *fleet) connect(ctx context.Context, t *testing.T) {
	t.Helper()
	waiting := map[string]bool{}
	for _, b := range f.backends {
		waiting[b.address] = true
	}
	for i := 0; len(waiting) > 0; i++ {
		address, err := f.call(ctx, "echo", fmt.Sprint(i))
		if err != nil {
			t.Fatalf("connecting: %v; %d backends have not answered", err, len(waiting))
		}
		delete(waiting, address)
	}
}

// owners asks for many keys, one after another.
func (f *fleet) owners(ctx context.Context, t *testing.T, users []string) map[string]string {
	t.Helper()
	owners := make(map[string]string, len(users))
	for _, user := range users {
		address, err := f.call(ctx, "echo", user)
		if err != nil {
			t.Fatalf("key %s: %v", user, err)
		}
		owners[user] = address
	}
	return owners
}

// begin sends n requests that are held, all at the same time, and returns when
// all have arrived.
func (f *fleet) begin(ctx context.Context, t *testing.T, n int, nextKey func() string) []*held {
	t.Helper()
	for range n {
		key, answered := nextKey(), make(chan struct{})
		name := fmt.Sprintf("hold %p", answered)
		f.sent.Store(name, answered)
		f.calls.Go(func() {
			defer close(answered)
			if _, err := f.call(ctx, name, key); err != nil {
				t.Errorf("key %s: %v", key, err)
			}
		})
	}
	all := make([]*held, 0, n)
	for range n {
		select {
		case h := <-f.arrivals:
			all = append(all, h)
		case <-ctx.Done():
			t.Fatalf("%d of %d requests arrived", len(all), n)
		}
	}
	return all
}

// largest is the most that any backend holds now.
func (f *fleet) largest() int64 {
	var most int64
	for _, b := range f.backends {
		most = max(most, b.inFlight.Load())
	}
	return most
}
