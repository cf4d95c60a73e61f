package conformance

import (
	"context"
	"fmt"
	"runtime"
	"testing"
)

// Endpoints hold 1,000 addresses at most, so there is no more for kuberesolver.
func BenchmarkChange(b *testing.B) {
	for _, r := range Resolvers() {
		for _, size := range []int{100, 1000, 10_000} {
			if size <= maxEndpoints || r.Reads == "endpointslices" {
				b.Run(fmt.Sprintf("resolver=%s/endpoints=%d", r.Name, size), func(b *testing.B) { benchmarkChange(b, r, size) })
			}
		}
	}
}

// benchmarkChange measures the time from writing one changed endpoint to the API server until the channel has the new
// state: encoding and sending it are in there, on both sides. A slice of 100 endpoints is written, or the Endpoints
// object, which has all of them.
func benchmarkChange(b *testing.B, r Resolver, size int) {
	s := populated(b, r, size)
	c, err := s.open(Settings{Coalesce: -1}, s.targetOf("grpc"))
	if err != nil {
		b.Fatal(err)
	}
	if err := c.sees(b.Context(), recovery, on(ipsOf(many(0, size))...)...); err != nil {
		b.Fatal(err)
	}
	var objects [2]Object // of which one has another last endpoint
	for i := range objects {
		changed := sliceOf("0", many(0, 100)...)
		changed.pods[99].ip = fmt.Sprintf("10.9.0.%d", 1+i)
		s.service.slices["0"] = changed
		objects[i] = s.service.endpointSlice(changed)
		if r.Reads == "endpoints" {
			objects[i] = s.service.endpoints()
		}
	}
	for i := 0; b.Loop(); i++ {
		c.forget()
		if err := s.cluster.Put(b.Context(), objects[i%2]); err != nil {
			b.Fatal(err)
		}
		if !c.until(b.Context(), soon, func() bool { return c.updates > 0 }) {
			b.Fatal("no update")
		}
	}
}

// The sizes are those at which a connection's buffers no longer count.
func BenchmarkMemory(b *testing.B) {
	for _, r := range Resolvers() {
		size := maxEndpoints
		if r.Reads == "endpointslices" {
			size = 10_000
		}
		b.Run(fmt.Sprintf("resolver=%s/endpoints=%d", r.Name, size), func(b *testing.B) { benchmarkMemory(b, r, size) })
	}
}

// benchmarkMemory measures what is on the heap for one channel: what the resolver keeps, the last state, which every
// channel keeps, and the connection to the API server, both ends.
func benchmarkMemory(b *testing.B, r Resolver, size int) {
	s := populated(b, r, size)
	want := on(ipsOf(many(0, size))...)
	held := 0.0
	for b.Loop() {
		before := heap()
		c, err := s.watch()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.sees(b.Context(), recovery, want...); err != nil {
			b.Fatal(err)
		}
		held += heap() - before
		if err := s.end(b.Context()); err != nil {
			b.Fatal(err)
		}
		s.channels = nil
	}
	b.ReportMetric(held/float64(b.N)/float64(size), "B/endpoint")
	b.ReportMetric(0, "ns/op") // most of it is the garbage collector's
}

// populated is a stage over sockets with a Service of so many endpoints.
func populated(b *testing.B, r Resolver, size int) *stage {
	b.Helper()
	cluster, err := Loopback()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	s, err := newStage(b.Context(), r, cluster, b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.end(context.Background()); err != nil { // the benchmark's has ended
			b.Error(err)
		}
	})
	var slices []slice
	for i := 0; i < size; i += 100 {
		slices = append(slices, sliceOf(fmt.Sprint(i/100), many(i, i+100)...))
	}
	if err := s.service.set(b.Context(), slices...); err != nil {
		b.Fatal(err)
	}

	return s
}

// heap is what is in use after a collection. Two, since the first one moves what pools hold to where the second frees it.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)

	return float64(stats.HeapAlloc)
}
