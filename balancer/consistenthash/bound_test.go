package consistenthash_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/experimental/balancer/weight"
)

// zipf draws keys of which a few are asked for most of the time.
func zipf(seed uint64) func() string {
	z := rand.NewZipf(rand.New(rand.NewPCG(seed, 1)), 1.1, 1, 9_999)
	return func() string { return fmt.Sprintf("user-%d", z.Uint64()) }
}

// ceilOf is the ceiling of a/b.
func ceilOf(a, b int) int { return (a + b - 1) / b }

// One at a time, requests come and end at random. The bound is checked at every
// single admission, against the requests in flight then.
func TestNoRequestIsAdmittedAboveTheBound(t *testing.T) {
	for _, tc := range []struct {
		factor  string
		percent int
		weights []int
	}{
		{"1.0001", 0, []int{1, 1, 1, 1, 1, 1, 1}}, // percent 0: any factor above 1 is at least ceil(mean)
		{"1.1", 110, slices.Repeat([]int{1}, 20)},
		{"1.25", 125, slices.Repeat([]int{1}, 20)},
		{"1.25", 125, []int{1, 2, 3, 4, 10}},
		{"2", 200, []int{4_294_967_295, 4_294_967_295, 1}},
	} {
		t.Run(fmt.Sprintf("loadFactor=%s,endpoints=%d", tc.factor, len(tc.weights)), func(t *testing.T) {
			pods := addresses(len(tc.weights))
			endpoints := endpointsAt(pods...)
			sum := 0
			weightOf := map[string]int{}
			for i, w := range tc.weights {
				endpoints[i] = weight.Set(endpoints[i], weight.EndpointInfo{Weight: uint32(w)})
				weightOf[pods[i]] = w
				sum += w
			}
			c := newChannel(t, "consistent_hash")
			c.update(t, fmt.Sprintf(`{"requestHashHeader": "x-user-id", "loadFactor": %s}`, tc.factor), endpoints...)

			type request struct {
				on   string
				done func()
			}
			var inFlight []request
			load := map[string]int{}
			random := rand.New(rand.NewPCG(3, 4))
			nextKey := zipf(5)
			for step := range 5000 {
				// Swings between hardly any and some 300 requests.
				if target := 150 + 149*(1-2*(step/500%2)); len(inFlight) > 0 && random.IntN(300) > target {
					i := random.IntN(len(inFlight))
					inFlight[i].done()
					load[inFlight[i].on]--
					inFlight = slices.Delete(inFlight, i, i+1)
					continue
				}
				on, done, err := c.hold(nextKey())
				if err != nil {
					t.Fatal(err)
				}
				inFlight = append(inFlight, request{on, done})
				load[on]++
				percent := tc.percent
				if percent == 0 {
					percent = 101 // one more than the factor gives, as factors in percent go
				}
				if most := ceilOf(percent*len(inFlight)*weightOf[on], 100*sum); load[on] > most {
					t.Fatalf("step %d: %s was given its request %d with %d in flight: at most %d", step, on, load[on], len(inFlight), most)
				}
			}
			for _, r := range inFlight {
				r.done()
			}
		})
	}
}

// While requests only come, every endpoint is within the bound at every moment.
func TestLoadsStayWithinTheBoundWhileRequestsCome(t *testing.T) {
	const n = 20
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(addresses(n)...)...)
	load := map[string]int{}
	nextKey := zipf(1)
	for m := 1; m <= 2000; m++ {
		on, _, err := c.hold(nextKey())
		if err != nil {
			t.Fatal(err)
		}
		load[on]++
		most := ceilOf(125*m, 100*n)
		for pod, got := range load {
			if got > most {
				t.Fatalf("with %d in flight %s holds %d: at most %d", m, pod, got, most)
			}
		}
	}
}

// With a fixed number of workers there are never more requests in flight, so no
// endpoint may ever hold more than the bound at that number, whatever the races.
func TestTheBoundHoldsAtEveryMomentUnderConcurrency(t *testing.T) {
	const n, workers, rounds = 10, 64, 200
	pods := addresses(n)
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(pods...)...)
	picker := c.state().Picker

	load := map[string]*atomic.Int64{}
	for _, pod := range pods {
		load[pod] = new(atomic.Int64)
	}
	most := int64(ceilOf(125*workers, 100*n))
	var above atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			nextKey := zipf(uint64(worker))
			for range rounds {
				on, done, err := pickFrom(withHeader(nextKey()), picker)
				if err != nil {
					t.Error(err)
					return
				}
				// Counted after the pick and given back before the end: never more than the policy's own count.
				if load[on].Add(1) > most {
					above.Add(1)
				}
				load[on].Add(-1)
				done()
			}
		})
	}
	wg.Wait()
	if above.Load() > 0 {
		t.Errorf("%d times an endpoint held more than %d of at most %d requests", above.Load(), most, workers)
	}
}

func TestAFullEndpointPassesToTheNextDistinctOne(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.update(t, `{"requestHashHeader": "x-user-id", "loadFactor": 1.0001}`, endpointsAt(addresses(5)...)...)
	var order []string
	for range 4 { // a fifth makes the mean 1, and the bound 2
		on, _, err := c.hold("k")
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(order, on) {
			t.Fatalf("four requests of one key went to %v and %s: want four endpoints", order, on)
		}
		order = append(order, on)
	}
	// With the owner gone, the next one on the ring owns the key.
	rest := slices.DeleteFunc(addresses(5), func(pod string) bool { return pod == order[0] })
	without := newChannel(t, "consistent_hash")
	without.update(t, unbounded, endpointsAt(rest...)...)
	if got := without.pick(t, "k"); got != order[1] {
		t.Errorf("without its owner the key goes to %s: want %s, to which the owner passed it on", got, order[1])
	}
}

func TestAFullEndpointDoesNotPassToOneThatIsConnecting(t *testing.T) {
	pods := addresses(3)
	c := newChannel(t, "consistent_hash")
	c.hang(pods[0], true)
	c.hang(pods[1], true)
	c.update(t, bounded, endpointsAt(pods...)...)
	ready := 0
	for _, user := range keys(200) {
		// The mean is over READY endpoints. There is one, so it is never full.
		if on, _, err := c.hold(user); err == nil {
			ready++
			if on != pods[2] {
				t.Fatalf("picked %s, which is not connected", on)
			}
		}
	}
	if ready == 0 {
		t.Error("no key belongs to the READY endpoint")
	}
}

func TestMinCapacityKeepsKeysTogetherWhenThereIsLittleLoad(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.update(t, `{"requestHashHeader": "x-user-id", "minCapacity": 4}`, endpointsAt(addresses(20)...)...)
	owner, _, err := c.hold("k")
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= 4; i++ {
		if on, _, _ := c.hold("k"); on != owner {
			t.Fatalf("request %d went to %s: want it with the others on %s", i, on, owner)
		}
	}
	if on, _, _ := c.hold("k"); on == owner {
		t.Error("request 5 went to an endpoint that holds four, above any bound")
	}
}
