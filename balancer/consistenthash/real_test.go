package consistenthash_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What is sampled is what the backends hold, whenever every request that was
// sent has arrived, so that a sample is of one moment. Requests last until the
// test ends them. At no time before a sample were there more in flight than in it:
// the number rises, and then falls only to rise again to where it was. So each
// backend took its last request at a bound that was no higher.
func TestOnARealChannelNoBackendHoldsMoreThanTheBound(t *testing.T) {
	const n, inFlight, rounds = 20, 200, 60
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := newFleet(t, n, `{"loadFactor": 1.25}`)
	f.connect(ctx, t)

	nextKey := zipf(7)
	random := rand.New(rand.NewPCG(8, 9))
	var all []*held
	begin := func(k int) { all = append(all, f.begin(ctx, t, k, nextKey)...) }
	end := func(k int) {
		for range k {
			i := random.IntN(len(all))
			all[i].end()
			all = slices.Delete(all, i, i+1)
		}
	}
	samples, largest := 0, int64(0)
	sample := func() {
		t.Helper()
		samples++
		largest = f.largest()
		if most := int64(ceilOf(125*len(all), 100*n)); largest > most {
			t.Fatalf("sample %d: with %d in flight on %d backends, one holds %d: at most %d", samples, len(all), n, largest, most)
		}
	}

	// From nothing to all, one by one.
	for len(all) < inFlight {
		begin(1)
		sample()
	}
	// In the steady state each request that ends makes room for another.
	for range rounds * 5 {
		end(1)
		begin(1)
		sample()
	}
	// Many end, and as many come at the same time.
	for range rounds {
		k := 1 + random.IntN(inFlight/2)
		end(k)
		begin(k)
		sample()
	}
	t.Logf("%d samples; at the last the busiest of %d backends held %d of %d requests", samples, n, largest, inFlight)

	// While they end, a backend that is over its present bound is given nothing.
	over := 0
	for len(all) > 1 {
		end(2)
		begin(1)
		most := int64(ceilOf(125*len(all), 100*n))
		if taker := all[len(all)-1].on.inFlight.Load(); taker > most {
			t.Fatalf("with %d in flight a backend was given its request %d: at most %d", len(all), taker, most)
		}
		if f.largest() > most {
			over++
		}
	}
	end(1)
	t.Logf("while requests ended, %d of %d times some backend still held more than the bound of that moment", over, inFlight-1)
}

func TestOnARealChannelWithoutABoundAffinityIsComplete(t *testing.T) {
	const n, requests = 20, 400
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := newFleet(t, n, `{"loadFactor": 0}`)
	f.connect(ctx, t)

	nextKey := zipf(7)
	owner := map[string]string{}
	var all []*held
	for range requests {
		key := nextKey()
		h := f.begin(ctx, t, 1, func() string { return key })[0]
		all = append(all, h)
		if first, seen := owner[key]; seen && first != h.on.address {
			t.Fatalf("key %s went to %s and to %s", key, first, h.on.address)
		}
		owner[key] = h.on.address
	}
	// The load is one that the bound would have had to act on.
	if largest, bound := f.largest(), int64(ceilOf(125*requests, 100*n)); largest <= bound {
		t.Errorf("the busiest backend holds %d, within the bound of %d: the keys are too even for this test to show anything", largest, bound)
	}
	for _, h := range all {
		h.end()
	}
}

func TestOnARealChannelOnlyTheKeysOfAKilledBackendMoveAndTheyReturn(t *testing.T) {
	const n = 5
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := newFleet(t, n, `{}`)
	f.connect(ctx, t)
	users := keys(200)
	before := f.owners(ctx, t, users)

	killed := f.backends[3]
	killed.stop()
	itsKey := keyOf(before, killed.address)
	f.until(ctx, t, itsKey, func(address string) bool { return address != killed.address })
	for user, now := range f.owners(ctx, t, users) {
		if moved := now != before[user]; moved != (before[user] == killed.address) {
			t.Fatalf("key %s went to %s, goes to %s after %s was killed", user, before[user], now, killed.address)
		}
	}

	killed.start(t, killed.address)
	f.until(ctx, t, itsKey, func(address string) bool { return address == killed.address })
	if diff := cmp.Diff(before, f.owners(ctx, t, users)); diff != "" {
		t.Errorf("owners of keys (-before +after the backend came back):\n%s", diff)
	}
}

// until asks for a key until the answer comes from the right backend.
func (f *fleet) until(ctx context.Context, t *testing.T, key string, right func(address string) bool) {
	t.Helper()
	for {
		address, err := f.call(ctx, "echo", key)
		if ctx.Err() != nil {
			t.Fatalf("key %s: last answer from %q, %v", key, address, err)
		}
		if err == nil && right(address) {
			return
		}
	}
}

func TestOnARealChannelANewBackendTakesItsShare(t *testing.T) {
	const n = 5
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := newFleet(t, n+1, `{}`)
	f.connect(ctx, t)
	f.resolver.UpdateState(f.listing(n))
	users := keys(1000)
	before := f.owners(ctx, t, users)
	if slices.Contains(slices.Collect(maps.Values(before)), f.backends[n].address) {
		t.Fatal("a backend that is not listed gets requests")
	}

	f.resolver.UpdateState(f.listing(n + 1))
	moved := 0
	for user, now := range f.owners(ctx, t, users) {
		if now == before[user] {
			continue
		}
		moved++
		if now != f.backends[n].address {
			t.Fatalf("key %s moved from %s to %s, which is not new", user, before[user], now)
		}
	}
	if ideal := len(users) / (n + 1); moved < ideal/2 || moved > ideal*2 {
		t.Errorf("%d of %d keys moved: want about %d", moved, len(users), ideal)
	}
}

func TestOnARealChannelAMissingKeyEndsAlsoAnRPCThatWaits(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := newFleet(t, 1, `{}`)
	err := f.channel.Invoke(ctx, "/test.Backend/Call", wrapperspb.String("echo"), new(wrapperspb.StringValue), grpc.WaitForReady(true))
	if status.Code(err) != codes.Internal {
		t.Errorf("an RPC without a key ended with %v: want INTERNAL", err)
	}
}
