package fault

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

// BenchmarkUnary is what the interceptor costs an RPC: without it, with it and no
// fault in force, and with a fault that leaves the RPC alone.
func BenchmarkUnary(b *testing.B) {
	handler := func(context.Context, any) (any, error) { return nil, nil }
	info := &grpc.UnaryServerInfo{FullMethod: roll}
	injector := New(prometheus.NewRegistry(), slog.New(slog.DiscardHandler), func(bool) {})
	ctx := context.Background()
	run := func(name string, interceptor grpc.UnaryServerInterceptor) {
		b.Run("faults="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := interceptor(ctx, nil, info, handler); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("without", func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(ctx, req)
	})
	run("none", injector.Unary)
	set := &faultv1.SetRequest{Faults: &faultv1.Faults{RefuseHealth: true}}
	if _, err := (&service{injector: injector}).Set(ctx, set); err != nil {
		b.Fatal(err)
	}
	run("others", injector.Unary)
}
