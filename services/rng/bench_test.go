package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/evenkeel/evenkeel/internal/telemetry"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// BenchmarkRoll is the handler without gRPC around it.
func BenchmarkRoll(b *testing.B) {
	s := &service{dice: newDice(1)}
	req := &rngv1.RollRequest{}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Roll(b.Context(), req); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkServer compares the whole server, with metrics, health, headers and
// recovery ("server=kit"), and the same with a trace of one RPC in a hundred sent to a collector
// ("server=traced"), to grpc-go with nothing but the same handler ("server=bare"): 64 calls in flight, one after another, over one connection. Client and server share the
// machine, so only the ratio of the two means something. On a machine that has other
// work too, compare the processor time that an RPC costs at both ends: it is what
// bounds the rate, and other work does not count into it.
func BenchmarkServer(b *testing.B) {
	b.Run("server=bare", func(b *testing.B) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		srv := grpc.NewServer()
		rngv1.RegisterRngServiceServer(srv, &service{dice: newDice(1)})
		done := make(chan error, 1)
		go func() { done <- srv.Serve(listener) }()
		defer func() {
			srv.Stop()
			<-done
		}()
		closedLoop(b, listener.Addr())
	})
	b.Run("server=kit", func(b *testing.B) {
		terminate, address := startKit(b, telemetry.Traces{})
		defer terminate()
		closedLoop(b, address)
	})
	b.Run("server=traced", func(b *testing.B) {
		collector, spans := startCollector(b)
		terminate, address := startKit(b, telemetry.Traces{Endpoint: collector, Sampler: "parentbased_traceidratio", SamplerArg: 0.01})
		closedLoop(b, address)
		terminate() // which sends the last of them
		b.ReportMetric(float64(spans.Load())/float64(b.N), "spans/rpc")
	})
}

// startCollector takes spans, as Jaeger would, and counts them.
func startCollector(b *testing.B) (endpoint string, spans *atomic.Int64) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c := &spanCounter{}
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, c)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(listener) }()
	b.Cleanup(func() {
		srv.Stop()
		<-done
	})

	return "http://" + listener.Addr().String(), &c.spans
}

type spanCounter struct {
	collector.UnimplementedTraceServiceServer

	spans atomic.Int64
}

func (c *spanCounter) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, resource := range r.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans.Add(int64(len(scope.GetSpans())))
		}
	}

	return &collector.ExportTraceServiceResponse{}, nil
}

// closedLoop calls Roll b.N times, 64 at a time, and reports the rate.
func closedLoop(b *testing.B, address net.Addr) {
	const inFlight = 64
	client := rngv1.NewRngServiceClient(dial(b, address))
	if _, err := client.Roll(b.Context(), &rngv1.RollRequest{}, grpc.WaitForReady(true)); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var callers sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	began, usedBefore := time.Now(), processorTime(b)
	for range inFlight {
		callers.Go(func() {
			req := &rngv1.RollRequest{}
			for left.Add(-1) >= 0 {
				if _, err := client.Roll(b.Context(), req); err != nil {
					b.Error(err)

					return
				}
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "rpc/s")
	b.ReportMetric(float64((processorTime(b)-usedBefore).Nanoseconds())/float64(b.N), "cpu-ns/rpc")
}

// processorTime is what this process has used so far, in the kernel too.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}

	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
