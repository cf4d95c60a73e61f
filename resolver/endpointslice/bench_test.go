package endpointslice

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"
)

// many makes slices of up to 100 endpoints.
func many(endpoints int) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	for from := 0; from < endpoints; from += 100 {
		s := sliceOf(fmt.Sprintf("rng-%05d", from), 8081)
		for i := from; i < min(from+100, endpoints); i++ {
			s.Endpoints = append(s.Endpoints, pod(fmt.Sprintf("rng-7d4b9c8f6d-%05d", i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
				zone(fmt.Sprintf("zone-%d", i%3))))
		}
		all = append(all, s)
	}
	return all
}

// fill puts slices into a store.
func fill(b *testing.B, all []*discoveryv1.EndpointSlice) *store {
	b.Helper()
	s := newStore(time.Now())
	objects := make([]any, 0, len(all))
	for _, each := range all {
		objects = append(objects, each.DeepCopy())
	}
	if err := s.Replace(objects, "1"); err != nil {
		b.Fatal(err)
	}
	return s
}

// sink is a channel that says how many endpoints it was given.
type sink chan int

func (s sink) UpdateState(state resolver.State) error {
	s <- len(state.Endpoints)
	return nil
}
func (s sink) ReportError(err error)                                { panic(err) }
func (s sink) NewAddress([]resolver.Address)                        {}
func (s sink) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

// BenchmarkEvent is from an event of the watch to the end of UpdateState: one endpoint of one slice becomes ready or
// unready in turn. The bounds are 2 ms for 100 endpoints and 20 ms for 10,000.
func BenchmarkEvent(b *testing.B) {
	for _, endpoints := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			all := many(endpoints)
			s := fill(b, all)
			updates := make(sink)
			c := &channel{
				cc: updates, view: view{target: Target{Port: "grpc"}}, coalesce: -1, clock: clock.RealClock{},
				logger: slog.New(slog.DiscardHandler), release: func() {},
				service: &service{namespace: "prod", name: "rng", store: s},
			}
			c.start()
			defer c.Close()
			if n := <-updates; n != endpoints {
				b.Fatalf("%d endpoints", n)
			}
			var versions [2]*discoveryv1.EndpointSlice
			for i := range versions {
				versions[i] = all[len(all)/2].DeepCopy()
				versions[i].Endpoints[50].Conditions.Ready = new(i == 1)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.Update(versions[i%2]); err != nil {
					b.Fatal(err)
				}
				if n := <-updates; n != endpoints-1+i%2 {
					b.Fatalf("%d endpoints", n)
				}
			}
		})
	}
}

// BenchmarkMemory is what a Service costs that one channel follows: the slices as they were read, the channel's view of
// them, and the state that the LB policy holds.
func BenchmarkMemory(b *testing.B) {
	for _, endpoints := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			all := many(endpoints)
			var bytes float64
			for b.Loop() {
				before := heap()
				s := fill(b, all)
				v := &view{target: Target{Port: "grpc"}}
				state, err := v.build(s.current().slices)
				if err != nil || len(state) != endpoints {
					b.Fatal(len(state), err)
				}
				bytes = float64(heap() - before)
				runtime.KeepAlive(s)
				runtime.KeepAlive(v)
				runtime.KeepAlive(state)
			}
			runtime.KeepAlive(all)
			b.ReportMetric(bytes/float64(endpoints), "bytes/endpoint")
			b.ReportMetric(0, "ns/op") // of the garbage collector, and of no interest
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
