package server

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// Headers of every response, so that a client knows the pod behind a virtual IP.
const (
	HeaderServedBy     = "x-served-by"
	HeaderServedByNode = "x-served-by-node"
	HeaderServedByZone = "x-served-by-zone"
)

// identification puts who served into the header of each response.
type identification metadata.MD

func servedBy(cfg Config) identification {
	header := metadata.Pairs(HeaderServedBy, cfg.podName())
	if cfg.NodeName != "" {
		header.Set(HeaderServedByNode, cfg.NodeName)
	}
	if cfg.Zone != "" {
		header.Set(HeaderServedByZone, cfg.Zone)
	}

	return identification(header)
}

func (id identification) unary(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	// It fails only after the header has gone out, which is not before the handler.
	_ = grpc.SetHeader(ctx, metadata.MD(id))

	return handler(ctx, req)
}

func (id identification) stream(
	srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	_ = stream.SetHeader(metadata.MD(id))

	return handler(srv, stream)
}

// recovery turns a panic in a handler into INTERNAL for that RPC. The caller is
// not told what happened; the log is.
type recovery struct {
	logger *slog.Logger
	panics prometheus.Counter
}

func newRecovery(t *telemetry.Telemetry) *recovery {
	r := &recovery{
		logger: t.Logger,
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evenkeel_server_panics_total",
			Help: "Panics in handlers, each answered with INTERNAL.",
		}),
	}
	t.Registry.MustRegister(r.panics)

	return r
}

func (r *recovery) unary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (resp any, err error) {
	defer r.recover(info.FullMethod, &err)

	return handler(ctx, req)
}

func (r *recovery) stream(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) (err error) {
	defer r.recover(info.FullMethod, &err)

	return handler(srv, stream)
}

func (r *recovery) recover(method string, err *error) {
	if cause := recover(); cause != nil {
		r.panics.Inc()
		r.logger.Error("panic in a handler", "method", method, "panic", cause, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "internal error")
	}
}
