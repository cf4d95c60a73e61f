package load

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/keys"
)

func tenKeys() *keys.Set {
	return keys.NewSet(keys.Config{Keys: keys.Zipf, KeyCount: 10, KeySkew: 1.1, KeyHeader: "x-user-id"})
}

// keyServer fails every first attempt and notes the keys of all.
type keyServer struct {
	mu          sync.Mutex
	first, last map[string]int64
}

func (s *keyServer) roll(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(md.Get("x-user-id"), ",")
	if len(md.Get("grpc-previous-rpc-attempts")) == 0 {
		s.first[key]++

		return status.Error(codes.Unavailable, "the first one never works")
	}
	s.last[key]++

	return named(ctx, "rng-0")
}

func TestAllAttemptsOfAnRPCCarryItsKeyAndItCountsOnceWhereItEnded(t *testing.T) {
	server := &keyServer{first: map[string]int64{}, last: map[string]int64{}}
	_, address := startServer(t, server.roll)
	r := record(t, address, retryThrice)
	ctx, stop := context.WithCancel(t.Context())
	calls := 0
	g := &Generator{
		Recorder: r.Recorder, Keys: tenKeys(), Concurrency: 1, Timeout: 10 * time.Second,
		Call: func(ctx context.Context) error {
			if calls++; calls == 40 {
				stop()
			}
			_, err := r.client.Roll(ctx, &rngv1.RollRequest{})

			return err
		},
	}
	g.Run(ctx)
	r.end()

	reported := map[string]int64{}
	for f := range r.frames.Frames {
		for _, p := range f.Pods {
			for key, n := range p.Keys {
				if p.Name != "rng-0" {
					t.Errorf("%q served key %d", p.Name, key)
				}
				reported[keys.Name(key)] += n
			}
		}
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if diff := cmp.Diff(server.first, server.last); diff != "" || len(server.last) < 3 {
		t.Errorf("keys of first and later attempts: %s", diff)
	}
	if diff := cmp.Diff(server.last, reported); diff != "" {
		t.Errorf("-served +reported:\n%s", diff)
	}
	for _, p := range r.Totals().Pods {
		if p.Keys != nil {
			t.Errorf("the totals keep keys: %v", p.Keys)
		}
	}
}

func TestAnRPCThatFailedCountsForNoPodsKey(t *testing.T) {
	_, address := startServer(t, func(ctx context.Context) error {
		_ = named(ctx, "rng-0")

		return status.Error(codes.Internal, "never works")
	})
	r := record(t, address, "")
	ctx, stop := context.WithCancel(t.Context())
	g := &Generator{
		Recorder: r.Recorder, Keys: tenKeys(), Concurrency: 1, Timeout: 10 * time.Second,
		Call: func(ctx context.Context) error {
			stop()
			_, err := r.client.Roll(ctx, &rngv1.RollRequest{})

			return err
		},
	}
	g.Run(ctx)
	r.end()
	pods := 0
	for f := range r.frames.Frames {
		for _, p := range f.Pods {
			if pods++; p.Keys != nil {
				t.Errorf("keys %v", p.Keys)
			}
		}
	}
	if pods == 0 {
		t.Error("no pod was heard of")
	}
}

func TestTheKeysOfAnOpenLoopAreTheSameInEveryRun(t *testing.T) {
	sent := func(set *keys.Set) (all [][]string) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			drive(t, &Generator{Rate: 100, Keys: set, Call: func(ctx context.Context) error {
				md, _ := metadata.FromOutgoingContext(ctx)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, md.Get("x-user-id"))

				return nil
			}}, 2*time.Second)
		})

		return all[:199] // the one that is due at the very end may or may not be sent
	}
	first := sent(tenKeys())
	if diff := cmp.Diff(first, sent(tenKeys())); diff != "" {
		t.Errorf("two runs:\n%s", diff)
	}
	draws := tenKeys().Draws(0)
	for i, got := range first {
		if want := []string{keys.Name(draws.Next())}; !cmp.Equal(want, got) {
			t.Fatalf("RPC %d carries %q, want %q", i, got, want)
		}
	}
	for _, none := range sent(nil) {
		if none != nil {
			t.Fatalf("without keys an RPC carries %q", none)
		}
	}
}
