package consistenthash_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/ringhash"
	"google.golang.org/grpc/resolver"
)

// Both policies are measured through the pickers that they give to a channel
// whose endpoints are READY. To compare them:
//
//	go test -run '^$' -bench Pick -count 6 ./balancer/consistenthash | benchstat -col /policy -
var contenders = []struct{ name, policy, config string }{
	{ringhash.Name, ringhash.Name, `{"requestHashHeader": "x-user-id"}`},
	{"consistent_hash", "consistent_hash", bounded},
	{"consistent_hash_without_bound", "consistent_hash", unbounded},
}

var sizes = []int{10, 100, 1000}

// BenchmarkPick begins and ends one RPC at a time.
func BenchmarkPick(b *testing.B) {
	eachContender(b, func(b *testing.B, picker balancer.Picker, contexts []context.Context) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			pickAndEnd(contexts[i%len(contexts)], b, picker)
			i++
		}
	})
}

// BenchmarkPickInParallel does so on all cores.
func BenchmarkPickInParallel(b *testing.B) {
	eachContender(b, func(b *testing.B, picker balancer.Picker, contexts []context.Context) {
		b.ReportAllocs()
		var workers atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			i := int(workers.Add(1)) * 97
			for pb.Next() {
				pickAndEnd(contexts[i%len(contexts)], b, picker)
				i++
			}
		})
	})
}

func pickAndEnd(ctx context.Context, b *testing.B, picker balancer.Picker) {
	result, err := picker.Pick(balancer.PickInfo{FullMethodName: "/test.Service/Method", Ctx: ctx})
	if err != nil {
		b.Fatal(err)
	}
	if result.Done != nil {
		result.Done(balancer.DoneInfo{})
	}
}

func eachContender(b *testing.B, measure func(*testing.B, balancer.Picker, []context.Context)) {
	users := keys(1024)
	var inHeader, inContext []context.Context
	for _, user := range users {
		inHeader = append(inHeader, withHeader(user))
		inContext = append(inContext, withKey(user))
	}
	for _, n := range sizes {
		for _, contender := range contenders {
			c := newChannel(b, contender.policy)
			c.update(b, contender.config, endpointsAt(addresses(n)...)...)
			c.connectFor(b, users)
			picker := c.state().Picker
			b.Run(fmt.Sprintf("key=header/endpoints=%d/policy=%s", n, contender.name), func(b *testing.B) {
				measure(b, picker, inHeader)
			})
			if contender.policy == ringhash.Name {
				continue // takes its key from nowhere else
			}
			b.Run(fmt.Sprintf("key=context/endpoints=%d/policy=%s", n, contender.name), func(b *testing.B) {
				measure(b, picker, inContext)
			})
		}
	}
}

// BenchmarkPickUnderLoad begins an RPC and ends the oldest of ten per endpoint.
// Keys are Zipf's, so that many a pick finds its owner full.
func BenchmarkPickUnderLoad(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			c := newChannel(b, "consistent_hash")
			c.update(b, bounded, endpointsAt(addresses(n)...)...)
			picker := c.state().Picker
			contexts := make([]context.Context, 1<<14)
			nextKey := zipf(1)
			for i := range contexts {
				contexts[i] = withKey(nextKey())
			}
			inFlight := make([]func(balancer.DoneInfo), 10*n)
			for i := range inFlight {
				inFlight[i] = begin(contexts[i%len(contexts)], b, picker)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				inFlight[i%len(inFlight)](balancer.DoneInfo{})
				inFlight[i%len(inFlight)] = begin(contexts[i%len(contexts)], b, picker)
				i++
			}
		})
	}
}

func begin(ctx context.Context, b *testing.B, picker balancer.Picker) func(balancer.DoneInfo) {
	result, err := picker.Pick(balancer.PickInfo{Ctx: ctx})
	if err != nil {
		b.Fatal(err)
	}
	return result.Done
}

// BenchmarkUpdate takes one endpoint away, or puts it back: a new ring each
// time, and all else that a policy does with a resolver's result.
func BenchmarkUpdate(b *testing.B) {
	users := keys(1024)
	for _, n := range sizes {
		for _, contender := range contenders[:2] {
			b.Run(fmt.Sprintf("endpoints=%d/policy=%s", n, contender.name), func(b *testing.B) {
				all := endpointsAt(addresses(n)...)
				c := newChannel(b, contender.policy)
				c.update(b, contender.config, all...)
				c.connectFor(b, users)
				results := [][]resolver.Endpoint{all[:n-1], all}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					c.update(b, contender.config, results[i%2]...)
					c.forget()
					i++
				}
			})
		}
	}
}

// forget lets go of all but the last state.
func (c *channel) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = slices.Clone(c.states[len(c.states)-1:])
}

// BenchmarkBalance measures no time: it reports how evenly 500 keys per endpoint
// (at least 100 000) are spread, and how many times 1/N of them move when one of N
// endpoints goes and when it comes, which is 1 for the ideal.
func BenchmarkBalance(b *testing.B) {
	for _, n := range sizes {
		for _, contender := range []struct{ name, policy, config string }{contenders[0], contenders[2]} {
			b.Run(fmt.Sprintf("endpoints=%d/policy=%s", n, contender.name), func(b *testing.B) {
				users := keys(max(100_000, 500*n))
				pods := addresses(n)
				var busiest, removed, added float64
				for b.Loop() {
					c := newChannel(b, contender.policy)
					c.update(b, contender.config, endpointsAt(pods...)...)
					before := c.spread(b, users)
					busiest = float64(most(before)) * float64(n) / float64(len(users))

					// The mean over some endpoints, for one may own more than another.
					removed, added = 0, 0
					const trials = 3
					for trial := range trials {
						at := trial * n / trials
						c.update(b, contender.config, endpointsAt(slices.Delete(slices.Clone(pods), at, at+1)...)...)
						without := c.spread(b, users)
						removed += moved(before, without) * float64(n) / trials
						c.update(b, contender.config, endpointsAt(pods...)...)
						added += moved(without, c.spread(b, users)) * float64(n) / trials
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(busiest, "max/mean")
				b.ReportMetric(removed, "moved-on-removal/ideal")
				b.ReportMetric(added, "moved-on-addition/ideal")
			})
		}
	}
}

// spread returns the owner of each key. Those whose owner had to connect first
// are asked for again.
func (c *channel) spread(b *testing.B, users []string) []string {
	owners := make([]string, len(users))
	c.await(b, "every key has a READY owner", func() bool {
		waiting := 0
		for i, user := range users {
			if owners[i] != "" {
				continue
			}
			address, _, err := c.hold(user)
			if err != nil {
				waiting++
				continue
			}
			owners[i] = address
		}
		return waiting == 0
	})
	c.forget()
	return owners
}

func most(owners []string) int {
	held := map[string]int{}
	for _, owner := range owners {
		held[owner]++
	}
	return slices.Max(slices.Collect(maps.Values(held)))
}

func moved(before, after []string) float64 {
	count := 0
	for i := range before {
		if before[i] != after[i] {
			count++
		}
	}
	return float64(count) / float64(len(before))
}

// BenchmarkAffinity measures no time either: it reports how many of 100 picks go
// to the owner of their key, and how much the busiest endpoint ever held, while
// a number of RPCs with Zipf's keys is in flight on 20 endpoints.
func BenchmarkAffinity(b *testing.B) {
	const n, picks = 20, 50_000
	pods := addresses(n)
	reference := newChannel(b, "consistent_hash")
	reference.update(b, unbounded, endpointsAt(pods...)...)
	for _, inFlight := range []int{10, 200} {
		for _, options := range []string{
			`"loadFactor": 0`, `"loadFactor": 2`, `"loadFactor": 1.25`, `"loadFactor": 1.1`, `"loadFactor": 1.25, "minCapacity": 4`,
		} {
			name := strings.NewReplacer(`"`, "", ": ", "=", ", ", "/").Replace(options)
			b.Run(fmt.Sprintf("inflight=%d/%s", inFlight, name), func(b *testing.B) {
				var byOwner, highest int
				for b.Loop() {
					c := newChannel(b, "consistent_hash")
					c.update(b, `{"requestHashHeader": "x-user-id", `+options+`}`, endpointsAt(pods...)...)
					byOwner, highest = 0, 0
					load := map[string]int{}
					nextKey := zipf(1)
					end := make([]func(), inFlight)
					for i := range picks {
						if i >= inFlight {
							end[i%inFlight]()
						}
						user := nextKey()
						address, done, err := c.hold(user)
						if err != nil {
							b.Fatal(err)
						}
						if address == reference.pick(b, user) {
							byOwner++
						}
						load[address]++
						highest = max(highest, load[address])
						end[i%inFlight] = func() { done(); load[address]-- }
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(byOwner)*100/picks, "%owner")
				b.ReportMetric(float64(highest), "most-in-flight")
			})
		}
	}
}
