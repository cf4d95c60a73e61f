package consistenthash_test

import (
	"sync"
	"testing"
)

func TestRequestsInFlightAreCountedAcrossNewRings(t *testing.T) {
	pods := addresses(4) // so that the bound of two requests is 1
	all, rest := endpointsAt(pods...), endpointsAt(pods[1:]...)
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, all...)
	user := keyOf(c.owners(t, keys(100)), pods[0])
	_, done, err := c.hold(user)
	if err != nil {
		t.Fatal(err)
	}

	// The endpoint goes, and comes back while its request is still in flight.
	for range 3 {
		c.update(t, bounded, rest...)
		c.pick(t, user)
		c.update(t, bounded, all...)
		if got := c.pick(t, user); got == pods[0] {
			t.Fatalf("picked %s, which is full with the request it had before it went", got)
		}
	}
	// It ends while its endpoint is away.
	c.update(t, bounded, rest...)
	done()
	c.update(t, bounded, all...)
	if got := c.pick(t, user); got != pods[0] {
		t.Fatalf("picked %s: want %s, whose request has ended", got, pods[0])
	}
}

// Requests of an endpoint that went away have no part in the mean of the rest,
// neither while they last nor when they end.
func TestRequestsOnEndpointsThatAreGoneDoNotRaiseTheBound(t *testing.T) {
	pods := addresses(3)
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(pods...)...)
	load := map[string]int{}
	var onFirst []func()
	nextKey := zipf(2)
	for range 90 {
		on, done, err := c.hold(nextKey())
		if err != nil {
			t.Fatal(err)
		}
		load[on]++
		if on == pods[0] {
			onFirst = append(onFirst, done)
		}
	}

	c.update(t, bounded, endpointsAt(pods[1:]...)...)
	for i := range 200 {
		on, _, err := c.hold("k")
		if err != nil {
			t.Fatal(err)
		}
		load[on]++
		if most := ceilOf(125*(load[pods[1]]+load[pods[2]]), 200); load[on] > most {
			t.Fatalf("%s was given its request %d: at most %d, as the removed endpoint's do not count", on, load[on], most)
		}
		if i < len(onFirst) {
			onFirst[i]()
		}
	}
	if min(load[pods[1]], load[pods[2]]) < 80 {
		t.Errorf("the two endpoints hold %d and %d: want neither starved", load[pods[1]], load[pods[2]])
	}
}

func TestPicksRaceWithUpdates(t *testing.T) {
	const n = 8
	pods := addresses(n)
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(pods...)...)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			nextKey := zipf(uint64(worker))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, done, err := c.hold(nextKey()); err == nil {
					done()
				}
			}
		})
	}
	for i := range 300 {
		c.update(t, bounded, endpointsAt(pods[:n-i%n]...)...)
		c.lose(pods[0])
	}
	close(stop)
	wg.Wait()
	c.update(t, bounded, endpointsAt(pods...)...)
	c.await(t, "all are READY", func() bool { return c.owned(keys(200)) == n })

	// Nothing is in flight: every owner has room, and three requests of one key fill three of eight endpoints.
	reference := newChannel(t, "consistent_hash")
	reference.update(t, unbounded, endpointsAt(pods...)...)
	for user, owner := range reference.owners(t, keys(200)) {
		if got := c.pick(t, user); got != owner {
			t.Fatalf("key %s goes to %s: want %s, which has nothing to do", user, got, owner)
		}
	}
	on := map[string]bool{}
	for range 3 {
		address, done, err := c.hold("k")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		on[address] = true
	}
	if len(on) != 3 {
		t.Errorf("three requests of one key went to %v: want three endpoints", on)
	}
}

// owned counts the endpoints to which keys go now.
func (c *channel) owned(users []string) int {
	owners := map[string]bool{}
	for _, user := range users {
		if address, done, err := c.hold(user); err == nil {
			done()
			owners[address] = true
		}
	}
	return len(owners)
}
