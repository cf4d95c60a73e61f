package consistenthash_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/balancer/ringhash"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
	resolverringhash "google.golang.org/grpc/resolver/ringhash"
)

const unbounded = `{"requestHashHeader": "x-user-id", "loadFactor": 0}`

// gRPC's ring_hash serves as the oracle: with a ring of as many entries, it must
// send every key to the same endpoint.
func TestKeysGoWhereRingHashSendsThemOnARingOfTheSameSize(t *testing.T) {
	endpoints := endpointsAt(addresses(8)...)
	ours := newChannel(t, "consistent_hash")
	ours.update(t, unbounded, endpoints...)
	theirs := newChannel(t, ringhash.Name)
	theirs.update(t, `{"requestHashHeader": "x-user-id", "minRingSize": 2048, "maxRingSize": 2048}`, endpoints...)

	users := keys(5000)
	theirs.connectFor(t, users)
	if diff := cmp.Diff(theirs.owners(t, users), ours.owners(t, users)); diff != "" {
		t.Errorf("owners of keys (-ring_hash +consistent_hash):\n%s", diff)
	}
}

// connectFor makes a lazy policy connect to the owners of all keys.
func (c *channel) connectFor(tb testing.TB, users []string) {
	tb.Helper()
	c.await(tb, "every key has a READY owner", func() bool {
		waiting := 0
		picker := c.state().Picker
		for _, user := range users {
			_, done, err := pickFrom(withHeader(user), picker)
			if err != nil {
				waiting++
				continue
			}
			done()
		}
		return waiting == 0
	})
}

func TestTheOrderOfEndpointsMakesNoDifference(t *testing.T) {
	endpoints := endpointsAt(addresses(30)...)
	users := keys(2000)
	first := newChannel(t, "consistent_hash")
	first.update(t, unbounded, endpoints...)
	want := first.owners(t, users)

	rand.New(rand.NewPCG(1, 2)).Shuffle(len(endpoints), func(i, j int) {
		endpoints[i], endpoints[j] = endpoints[j], endpoints[i]
	})
	// Duplicates, and endpoints without an address, count for nothing.
	endpoints = append(endpoints, endpoints[3], resolver.Endpoint{})
	second := newChannel(t, "consistent_hash")
	second.update(t, unbounded, endpoints...)
	if diff := cmp.Diff(want, second.owners(t, users)); diff != "" {
		t.Errorf("owners of keys (-listed +shuffled):\n%s", diff)
	}
}

// The ring is a contract between clients of all processes and releases.
func TestTheRingIsTheSameInEveryProcess(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, endpointsAt(addresses(5)...)...)
	want := map[string]string{
		"user-0": "10.244.0.3:8081",
		"user-1": "10.244.0.1:8081",
		"user-2": "10.244.0.1:8081",
		"user-3": "10.244.0.1:8081",
		"user-4": "10.244.0.0:8081",
		"user-5": "10.244.0.2:8081",
		"user-6": "10.244.0.1:8081",
		"user-7": "10.244.0.1:8081",
	}
	if diff := cmp.Diff(want, c.owners(t, keys(8))); diff != "" {
		t.Errorf("owners of keys (-as released +now):\n%s", diff)
	}
}

func TestARemovedEndpointMovesOnlyItsOwnKeysAndTheyComeBack(t *testing.T) {
	const n = 20
	pods := addresses(n)
	users := keys(20_000)
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, endpointsAt(pods...)...)
	before := c.owners(t, users)

	gone := pods[7]
	c.update(t, unbounded, endpointsAt(slices.Delete(slices.Clone(pods), 7, 8)...)...)
	for user, now := range c.owners(t, users) {
		if moved := now != before[user]; moved != (before[user] == gone) {
			t.Fatalf("key %s: went to %s, goes to %s after %s was removed", user, before[user], now, gone)
		}
	}

	c.update(t, unbounded, endpointsAt(pods...)...)
	if diff := cmp.Diff(before, c.owners(t, users)); diff != "" {
		t.Errorf("owners of keys (-before +after the endpoint came back):\n%s", diff)
	}
}

func TestAnAddedEndpointTakesItsShareAndNothingElseMoves(t *testing.T) {
	const n = 20
	pods := addresses(n + 1)
	users := keys(50_000)
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, endpointsAt(pods[:n]...)...)
	before := c.owners(t, users)
	c.update(t, unbounded, endpointsAt(pods...)...)

	moved := 0
	for user, now := range c.owners(t, users) {
		if now == before[user] {
			continue
		}
		moved++
		if now != pods[n] {
			t.Fatalf("key %s moved from %s to %s, which is not the endpoint that was added", user, before[user], now)
		}
	}
	share := float64(moved) / float64(len(users)) * (n + 1)
	if share < 0.75 || share > 1.25 {
		t.Errorf("the added endpoint took %.2f times the ideal 1/%d of the keys: want between 0.75 and 1.25", share, n+1)
	}
}

func TestKeysAreSharedByWeight(t *testing.T) {
	pods := addresses(4)
	endpoints := endpointsAt(pods...)
	weights := []uint32{1, 2, 3, 0} // 0 is what an endpoint without a weight has: it counts as 1
	for i := range endpoints {
		endpoints[i] = weight.Set(endpoints[i], weight.EndpointInfo{Weight: weights[i]})
	}
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, endpoints...)

	users := keys(50_000)
	held := map[string]float64{}
	for _, owner := range c.owners(t, users) {
		held[owner]++
	}
	for i, pod := range pods {
		want := float64(max(1, weights[i])) / 7
		if got := held[pod] / float64(len(users)); math.Abs(got/want-1) > 0.2 {
			t.Errorf("endpoint of weight %d holds %.3f of the keys: want %.3f, within a fifth", weights[i], got, want)
		}
	}
}

// Everybody's number of points is relative to the mean weight, which the newcomer
// changes. So more moves than what it takes, but by no more than 1/N of the keys,
// or as much again for a heavy one.
func TestAnAddedEndpointOfAnotherWeightMovesLittleMoreThanItsShare(t *testing.T) {
	users := keys(20_000)
	for _, w := range []uint32{1, 30, 100} { // beside ten of weight 10
		endpoints := endpointsAt(addresses(11)...)
		for i := range endpoints {
			endpoints[i] = weight.Set(endpoints[i], weight.EndpointInfo{Weight: 10})
		}
		endpoints[10] = weight.Set(endpoints[10], weight.EndpointInfo{Weight: w})
		c := newChannel(t, "consistent_hash")
		c.update(t, unbounded, endpoints[:10]...)
		before := c.owners(t, users)
		c.update(t, unbounded, endpoints...)
		moved := 0.0
		for user, now := range c.owners(t, users) {
			if now != before[user] {
				moved++
			}
		}
		ideal := float64(w) / float64(100+w)
		got, most := moved/float64(len(users)), ideal+max(ideal, 1.0/11)
		t.Logf("weight %d: %.3f of the keys moved, ideally %.3f", w, got, ideal)
		if got > most {
			t.Errorf("%.3f of the keys moved to make room for a weight of %d beside 100: want at most %.3f", got, w, most)
		}
	}
}

func TestEqualWeightsMakeTheSameRingAsNone(t *testing.T) {
	plain := endpointsAt(addresses(10)...)
	weighted := slices.Clone(plain)
	for i := range weighted {
		weighted[i] = weight.Set(weighted[i], weight.EndpointInfo{Weight: 1000})
	}
	users := keys(5000)
	without, with := newChannel(t, "consistent_hash"), newChannel(t, "consistent_hash")
	without.update(t, unbounded, plain...)
	with.update(t, unbounded, weighted...)
	if diff := cmp.Diff(without.owners(t, users), with.owners(t, users)); diff != "" {
		t.Errorf("owners of keys (-no weights +equal weights):\n%s", diff)
	}
}

func TestAChangedWeightTakesEffect(t *testing.T) {
	pods := addresses(2)
	users := keys(5000)
	c := newChannel(t, "consistent_hash")
	endpoints := endpointsAt(pods...)
	c.update(t, unbounded, endpoints...)
	endpoints[0] = weight.Set(endpoints[0], weight.EndpointInfo{Weight: 9})
	c.update(t, unbounded, endpoints...)
	held := 0
	for _, owner := range c.owners(t, users) {
		if owner == pods[0] {
			held++
		}
	}
	if share := float64(held) / float64(len(users)); share < 0.85 || share > 0.95 {
		t.Errorf("an endpoint of weight 9 beside one of 1 holds %.2f of the keys: want about 0.9", share)
	}
}

func TestAHashKeyKeepsAnEndpointsKeysWhenItsAddressChanges(t *testing.T) {
	named := func(address, name string) resolver.Endpoint {
		return resolverringhash.SetHashKey(endpointsAt(address)[0], name)
	}
	users := keys(2000)
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, named("10.0.0.1:80", "db-0"), named("10.0.0.2:80", "db-1"), named("10.0.0.3:80", "db-2"))
	before := c.owners(t, users)
	c.update(t, unbounded, named("10.0.0.1:80", "db-0"), named("10.9.9.9:80", "db-1"), named("10.0.0.3:80", "db-2"))
	for user, now := range c.owners(t, users) {
		want := before[user]
		if want == "10.0.0.2:80" {
			want = "10.9.9.9:80"
		}
		if now != want {
			t.Fatalf("key %s goes to %s: want %s", user, now, want)
		}
	}
}

func TestTheOrderOfAnEndpointsAddressesMakesNoDifference(t *testing.T) {
	both := func(first, second string) resolver.Endpoint {
		return resolver.Endpoint{Addresses: []resolver.Address{{Addr: first}, {Addr: second}}}
	}
	users := keys(2000)
	want := map[string]int{}
	for i, endpoints := range [][]resolver.Endpoint{
		endpointsAt("10.0.0.1:80", "10.0.0.2:80"), // before the cluster became dual-stack
		{both("10.0.0.1:80", "[fd00::1]:80"), both("10.0.0.2:80", "[fd00::2]:80")},
		{both("[fd00::1]:80", "10.0.0.1:80"), both("[fd00::2]:80", "10.0.0.2:80")},
	} {
		pod := map[string]int{"10.0.0.1:80": 1, "[fd00::1]:80": 1, "10.0.0.2:80": 2, "[fd00::2]:80": 2}
		c := newChannel(t, "consistent_hash")
		c.update(t, unbounded, endpoints...)
		got := map[string]int{}
		for user, address := range c.owners(t, users) {
			got[user] = pod[address]
		}
		if i == 0 {
			want = maps.Clone(got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pods of keys (-IPv4 alone +listing %d):\n%s", i, diff)
		}
	}
}

func TestEndpointsWithOneHashKeyAgreeOnWhoIsFirst(t *testing.T) {
	same := func(address string) resolver.Endpoint {
		return resolverringhash.SetHashKey(endpointsAt(address)[0], "shared")
	}
	one, other := newChannel(t, "consistent_hash"), newChannel(t, "consistent_hash")
	one.update(t, unbounded, same("10.0.0.1:80"), same("10.0.0.2:80"))
	other.update(t, unbounded, same("10.0.0.2:80"), same("10.0.0.1:80"))
	if a, b := one.pick(t, "k"), other.pick(t, "k"); a != b {
		t.Errorf("two clients send one key to %s and to %s", a, b)
	}
	one.refuse("10.0.0.1:80", errRefused)
	one.lose("10.0.0.1:80")
	one.await(t, "the second takes over", func() bool {
		address, _, err := one.hold("k")
		return err == nil && address == "10.0.0.2:80"
	})
	if got := one.state().ConnectivityState; got != connectivity.Ready {
		t.Errorf("state is %v: want READY", got)
	}
}
