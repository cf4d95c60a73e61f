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

	"github.com/evenkeel/evenkeel/internal/fault"
	"github.com/evenkeel/evenkeel/internal/servedby"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// around is what the kit does around the handler of a unary RPC, as one interceptor: in a chain, each costs
// every RPC an allocation.
type around struct {
	calls    *callMetrics
	served   identification
	faults   *fault.Injector
	recovery *recovery
}

// unary has the metrics see a panic as INTERNAL, and what a fault does as if the service had done it.
func (a around) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method, began := a.calls.begin(info.FullMethod)
	resp, err := a.guarded(ctx, req, info, handler)
	servedby.Sign(ctx, metadata.MD(a.served), err)
	a.calls.end(ctx, method, began, err)

	return resp, err
}

func (a around) guarded(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (resp any, err error) {
	defer a.recovery.recover(info.FullMethod, &err)

	return a.faults.Unary(ctx, req, info, handler)
}

// identification says who served: in the header of an answer, in the trailer of an error.
type identification metadata.MD

func servedBy(cfg Config) identification {
	header := metadata.Pairs(servedby.Pod, cfg.podName())
	if cfg.NodeName != "" {
		header.Set(servedby.Node, cfg.NodeName)
	}
	if cfg.Zone != "" {
		header.Set(servedby.Zone, cfg.Zone)
	}

	return identification(header)
}

func (id identification) stream(
	srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	identified := &identifiedStream{ServerStream: stream, id: id}
	err := handler(srv, identified)
	if !identified.done {
		stream.SetTrailer(metadata.MD(id)) // nothing was sent: the end says it
	}

	return err
}

// identifiedStream adds who served to the header, when there is one to send. As with
// any ServerStream, one goroutine sends at a time.
type identifiedStream struct {
	grpc.ServerStream

	id   identification
	done bool
}

// SendHeader sends the header with who served.
func (s *identifiedStream) SendHeader(md metadata.MD) error {
	s.identify()

	return s.ServerStream.SendHeader(md)
}

// SendMsg sends the header before the first message.
func (s *identifiedStream) SendMsg(m any) error {
	s.identify()

	return s.ServerStream.SendMsg(m)
}

func (s *identifiedStream) identify() {
	if !s.done {
		s.done = true
		_ = s.SetHeader(metadata.MD(s.id)) // it fails only once the header has been sent
	}
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
