package load

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/evenkeel/evenkeel/internal/telemetry"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/keys"
)

// benchmarkWorkers is how many RPCs are in flight, all on one connection.
const benchmarkWorkers = 64

// BenchmarkClosedLoop says what recording costs: "client" is the client's generator
// and recorder, with deadlines and its setting of the garbage collector, "bare" a loop that
// calls and does nothing else. Both have a server of their own process. rpc/s of one over
// the other is the figure of docs/performance.md: benchstat -col /loop. "keyed" is the
// client with a key for each RPC.
func BenchmarkClosedLoop(b *testing.B) {
	b.Run("loop=bare", func(b *testing.B) {
		benchmark(b, nil, bareLoop)
	})
	for _, loop := range []struct {
		name string
		keys keys.Config
	}{
		{"client", keys.Config{Keys: keys.None}},
		{"keyed", keys.Config{Keys: keys.Zipf, KeyCount: 1000, KeySkew: 1.1, KeyHeader: "x-user-id"}},
	} {
		b.Run("loop="+loop.name, func(b *testing.B) {
			r := NewRecorder("rng", 100*time.Millisecond, NewFeed())
			benchmark(b, []grpc.DialOption{grpc.WithStatsHandler(r.StatsHandler()), startTelemetry(b)}, generatorLoop(r, keys.NewSet(loop.keys)))
		})
	}
}

func startTelemetry(b *testing.B) grpc.DialOption {
	b.Helper()
	t, err := telemetry.Start(b.Context(), telemetry.Identity{Service: "client"}, telemetry.Config{}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.Shutdown(context.Background()) })

	return t.DialOption()
}

// bareLoop calls back to back and does nothing else.
func bareLoop(b *testing.B, call func(context.Context) error) {
	var calls atomic.Int64
	var workers sync.WaitGroup
	for range benchmarkWorkers {
		workers.Go(func() {
			for calls.Add(1) <= int64(b.N) {
				if err := call(context.Background()); err != nil {
					b.Error(err)

					return
				}
			}
		})
	}
	workers.Wait()
}

// generatorLoop is the client's closed loop, stopped after b.N RPCs.
func generatorLoop(r *Recorder, set *keys.Set) func(*testing.B, func(context.Context) error) {
	return func(b *testing.B, call func(context.Context) error) {
		ctx, stop := context.WithCancel(context.Background())
		var calls atomic.Int64
		g := &Generator{
			Recorder:    r,
			Keys:        set,
			Concurrency: benchmarkWorkers,
			Timeout:     time.Second,
			Call: func(ctx context.Context) error {
				if calls.Add(1) >= int64(b.N) {
					stop()
				}
				return call(ctx)
			},
		}
		closer, stopCloser := context.WithCancel(context.Background())
		var closed sync.WaitGroup
		closed.Go(func() { r.Run(closer) })
		defer g.TuneGC()()
		g.Run(ctx)
		b.StopTimer()
		stopCloser()
		closed.Wait()
		if t := r.Totals(); t.Failed > 0 || t.RPCs < int64(b.N) {
			b.Errorf("%d RPCs of %d recorded, %d failed: %s", t.RPCs, b.N, t.Failed, t.LastError)
		}
	}
}

// benchmark runs loop with b.N RPCs over one connection to a server in this process.
func benchmark(b *testing.B, options []grpc.DialOption, loop func(*testing.B, func(context.Context) error)) {
	b.Helper()
	conn, err := grpc.NewClient("passthrough:///"+startProcess(b),
		append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	client := rngv1.NewRngServiceClient(conn)
	request := &rngv1.RollRequest{Count: 1}
	call := func(ctx context.Context) error {
		_, err := client.Roll(ctx, request)

		return err
	}
	if err := call(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	loop(b, call)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rpc/s")
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/rpc")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what this process has had of the processors. Unlike rpc/s it does not
// depend on who else uses the machine.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}

	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
