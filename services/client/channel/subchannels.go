package channel

import (
	"github.com/prometheus/client_golang/prometheus"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/stats"
)

// Subchannels are the metrics of gRFC A94: connections that were made, failed, ended and why. They change with
// connections and not with RPCs, so they cost an RPC nothing.
//
// The labels that only xDS fills are left out.
type Subchannels struct {
	disconnections, succeeded, failed *prometheus.CounterVec
	open                              *prometheus.GaugeVec
}

// Names of the instruments in gRFC A94.
const (
	instrumentDisconnections = "grpc.subchannel.disconnections"
	instrumentSucceeded      = "grpc.subchannel.connection_attempts_succeeded"
	instrumentFailed         = "grpc.subchannel.connection_attempts_failed"
	instrumentOpen           = "grpc.subchannel.open_connections"
)

// NewSubchannels registers the metrics.
func NewSubchannels(registry prometheus.Registerer) *Subchannels {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	s := &Subchannels{
		disconnections: counter("grpc_subchannel_disconnections_total",
			"Connections that ended, by why (gRFC A94, "+instrumentDisconnections+").", "grpc_target", "grpc_disconnect_error"),
		succeeded: counter("grpc_subchannel_connection_attempts_succeeded_total",
			"Connections that were made (gRFC A94, "+instrumentSucceeded+").", "grpc_target"),
		failed: counter("grpc_subchannel_connection_attempts_failed_total",
			"Connections that could not be made (gRFC A94, "+instrumentFailed+").", "grpc_target"),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "grpc_subchannel_open_connections", Help: "Open connections (gRFC A94, " + instrumentOpen + ").",
		}, []string{"grpc_target"}),
	}
	registry.MustRegister(s.disconnections, s.succeeded, s.failed, s.open)

	return s
}

// Around makes a stats.Handler of a channel one that keeps the metrics, too. Whoever listens hears of each
// connection that ended and why, as gRFC A94 words it; nil if nobody does.
func (s *Subchannels) Around(handler stats.Handler, ended func(why string)) stats.Handler {
	if ended == nil {
		ended = func(string) {}
	}

	return &recorder{Handler: handler, metrics: s, ended: ended}
}

// recorder is a MetricsRecorder. gRPC looks for those among the channel's stats.Handlers.
type recorder struct {
	stats.Handler
	estats.UnimplementedMetricsRecorder

	metrics *Subchannels
	ended   func(why string)
}

// RecordInt64Count counts. Labels are those of the instrument: first the required, then the optional ones.
func (r *recorder) RecordInt64Count(handle *estats.Int64CountHandle, n int64, labels ...string) {
	switch handle.Descriptor().Name {
	case instrumentDisconnections:
		why := label(handle.Descriptor(), labels, "grpc.disconnect_error")
		r.metrics.disconnections.WithLabelValues(labels[0], why).Add(float64(n))
		r.ended(why)
	case instrumentSucceeded:
		r.metrics.succeeded.WithLabelValues(labels[0]).Add(float64(n))
	case instrumentFailed:
		r.metrics.failed.WithLabelValues(labels[0]).Add(float64(n))
	}
}

// RecordInt64UpDownCount counts up and down.
func (r *recorder) RecordInt64UpDownCount(handle *estats.Int64UpDownCountHandle, n int64, labels ...string) {
	if handle.Descriptor().Name == instrumentOpen {
		r.metrics.open.WithLabelValues(labels[0]).Add(float64(n))
	}
}

// label is the value of an optional label.
func label(d *estats.MetricDescriptor, values []string, name string) string {
	for i, optional := range d.OptionalLabels {
		if at := len(d.Labels) + i; optional == name && at < len(values) {
			return values[at]
		}
	}

	return ""
}
