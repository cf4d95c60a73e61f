// Package fault makes a server slow, failing or unhealthy while it runs, when it is
// told to by fault.v1.FaultService, to see what clients, load-balancing strategies,
// alerts and traces make of it. proto/fault/v1 says what each fault does.
//
// No fault is in force at first, and an RPC then pays one atomic load. Whatever a
// fault touches says so, so that nobody takes it for the real thing: the response's
// metadata (Key), an error's message, the server's span (the attribute
// evenkeel.fault), the log and two metrics.
package fault

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

// Key is the metadata with the names of the faults that touched a response: in the
// header of an answer, in the trailer of an error.
const Key = "x-evenkeel-fault"

// The faults, as metadata, metrics and spans name them.
const (
	latency      = "latency"
	errors       = "errors"
	slowStart    = "slow_start"
	refuseHealth = "refuse_health"
)

// Injector holds the faults in force, and puts them into RPCs.
type Injector struct {
	inForce      atomic.Pointer[faults] // nil when there are none
	changing     sync.Mutex             // held while they are replaced
	refuseHealth func(refuse bool)
	logger       *slog.Logger
	injected     map[string]prometheus.Counter
	random       func() float64 // from 0, below 1
}

// New makes an injector without faults. It calls refuseHealth when health is to say
// NOT_SERVING (true), and when it may say the truth again.
func New(registry *prometheus.Registry, logger *slog.Logger, refuseHealth func(refuse bool)) *Injector {
	i := &Injector{
		refuseHealth: refuseHealth,
		logger:       logger,
		injected:     map[string]prometheus.Counter{},
		random:       rand.Float64,
	}
	i.register(registry)

	return i
}

func (i *Injector) register(registry *prometheus.Registry) {
	injected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evenkeel_faults_injected_total",
		Help: "RPCs that a fault touched; one that several touched counts for each.",
	}, []string{"fault"})
	registry.MustRegister(injected)
	for _, name := range []string{latency, errors, slowStart, refuseHealth} {
		i.injected[name] = injected.WithLabelValues(name)
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "evenkeel_fault_active",
			Help:        "1 while the fault is in force.",
			ConstLabels: prometheus.Labels{"fault": name},
		}, func() float64 {
			if slices.Contains(i.inForce.Load().active(time.Now()), name) {
				return 1
			}

			return 0
		}))
	}
}

// Register adds fault.v1.FaultService, which is meant for people and tests alone: the
// inspect port is its place.
func (i *Injector) Register(registrar grpc.ServiceRegistrar) {
	faultv1.RegisterFaultServiceServer(registrar, &service{injector: i})
}

// Unary is a grpc.UnaryServerInterceptor. It belongs inside those that measure and
// trace, so that they see what it does.
func (i *Injector) Unary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	f := i.inForce.Load()
	if f == nil {
		return handler(ctx, req)
	}
	label, err := i.inject(ctx, f, info.FullMethod)
	if label == nil {
		return handler(ctx, req)
	}
	var resp any
	if err == nil {
		resp, err = handler(ctx, req)
	}
	// A response with a header is never retried (gRFC A6), so an error has the label
	// in its trailer, as it has who served.
	if err != nil {
		_ = grpc.SetTrailer(ctx, label) // neither fails before a header was sent
	} else {
		_ = grpc.SetHeader(ctx, label)
	}

	return resp, err
}

// Stream is the same for streams: a grpc.StreamServerInterceptor.
func (i *Injector) Stream(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	f := i.inForce.Load()
	if f == nil {
		return handler(srv, stream)
	}
	label, err := i.inject(stream.Context(), f, info.FullMethod)
	if label == nil {
		return handler(srv, stream)
	}
	labelled := &labelledStream{ServerStream: stream, label: label}
	if err == nil {
		err = handler(srv, labelled)
	}
	if !labelled.done {
		stream.SetTrailer(label) // nothing was sent: the end says it
	}

	return err
}

// inject does to an RPC what the faults say. The label is nil if they left it alone.
func (i *Injector) inject(ctx context.Context, f *faults, method string) (label metadata.MD, err error) {
	var touched []string
	switch {
	case strings.HasPrefix(method, "/grpc.health."):
		// Errors and delays would look like a refusal, to some of those who ask.
		if f.refuseHealth {
			touched = []string{refuseHealth}
		}
	case strings.HasPrefix(method, "/grpc.reflection."):
	default:
		touched, err = f.touch(ctx, i.random)
	}
	if len(touched) == 0 {
		return nil, nil
	}
	for _, name := range touched {
		i.injected[name].Inc()
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.StringSlice("evenkeel.fault", touched))
	}

	return metadata.MD{Key: touched}, err
}

// replace puts f in force; nil is no faults.
func (i *Injector) replace(f *faults) {
	i.changing.Lock()
	defer i.changing.Unlock()
	before := i.inForce.Swap(f)
	if before != nil {
		close(before.ended)
	}
	refused, refuse := before != nil && before.refuseHealth, f != nil && f.refuseHealth
	if refused != refuse {
		i.refuseHealth(refuse)
	}
	switch {
	case f != nil:
		i.logger.Warn("faults set", f.attributes()...)
	case before != nil:
		i.logger.Warn("faults cleared")
	}
}

// labelledStream adds the label to the header, when there is one to send. As with
// any ServerStream, one goroutine sends at a time.
type labelledStream struct {
	grpc.ServerStream

	label metadata.MD
	done  bool
}

// SendHeader sends the header with the label.
func (s *labelledStream) SendHeader(md metadata.MD) error {
	s.addLabel()

	return s.ServerStream.SendHeader(md)
}

// SendMsg sends the header before the first message.
func (s *labelledStream) SendMsg(m any) error {
	s.addLabel()

	return s.ServerStream.SendMsg(m)
}

func (s *labelledStream) addLabel() {
	if !s.done {
		s.done = true
		_ = s.SetHeader(s.label) // it fails only once the header has been sent
	}
}
