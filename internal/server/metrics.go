package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callMetrics are the server's instruments of gRFC A66, under the names that they
// have in Prometheus: calls begun, and the durations of those that ended by status.
// Message sizes are not among them: they need a stats.Handler, which alone costs
// a sixth of a small server's throughput.
//
// A duration of an RPC whose trace is recorded comes with it, as an exemplar.
//
// Methods that the server does not have are counted by nobody: interceptors do
// not see them.
type callMetrics struct {
	started  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	// methods has a *methodMetrics for each full method name that was called.
	methods sync.Map
}

// methodMetrics are one method's, found once: looking labels up costs more than
// counting.
type methodMetrics struct {
	name    string
	started prometheus.Counter
	// duration has a status's series once an RPC has ended with it.
	duration [codes.Unauthenticated + 1]atomic.Pointer[prometheus.Observer]
}

// latencyBounds are the bucket boundaries of gRFC A66 for latencies, in seconds.
var latencyBounds = []float64{
	0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01,
	0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65,
	0.8, 1, 2, 5, 10, 20, 50, 100,
}

func newCallMetrics(registry *prometheus.Registry) *callMetrics {
	m := &callMetrics{
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_server_call_started_total",
			Help: "RPCs begun (gRFC A66, grpc.server.call.started).",
		}, []string{"grpc_method"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "grpc_server_call_duration_seconds",
			Help:    "Time from the beginning of an RPC's handler to its end (gRFC A66, grpc.server.call.duration).",
			Buckets: latencyBounds,
		}, []string{"grpc_method", "grpc_status"}),
	}
	registry.MustRegister(m.started, m.duration)

	return m
}

func (m *callMetrics) stream(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	method, began := m.begin(info.FullMethod)
	err := handler(srv, stream)
	m.end(stream.Context(), method, began, err)

	return err
}

func (m *callMetrics) begin(name string) (*methodMetrics, time.Time) {
	found, ok := m.methods.Load(name)
	if !ok {
		found, _ = m.methods.LoadOrStore(name, m.find(name))
	}
	method := found.(*methodMetrics) //nolint:forcetypeassert // the map has nothing else
	method.started.Inc()

	return method, time.Now()
}

// find makes a method's series. A66 names methods without the leading slash.
func (m *callMetrics) find(name string) *methodMetrics {
	return &methodMetrics{name: name[1:], started: m.started.WithLabelValues(name[1:])}
}

func (m *callMetrics) end(ctx context.Context, method *methodMetrics, began time.Time, err error) {
	c := status.Code(err)
	if int(c) >= len(method.duration) {
		c = codes.Unknown // a handler may return any number
	}
	observer := method.duration[c].Load()
	if observer == nil {
		observer = new(m.duration.WithLabelValues(method.name, code.Code(c).String()))
		method.duration[c].Store(observer)
	}
	seconds := time.Since(began).Seconds()
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		if exemplary, ok := (*observer).(prometheus.ExemplarObserver); ok {
			exemplary.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": span.TraceID().String()})

			return
		}
	}
	(*observer).Observe(seconds)
}
