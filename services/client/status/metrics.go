package status

import (
	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/services/client/load"
)

// Metrics are the client's metrics, made of the totals at each scrape, so that they
// cost an RPC nothing. gRPC's own (gRFC A66) would cost a third of the load, and
// cannot say when an RPC was meant to be sent.
type Metrics struct{ services []Service }

// NewMetrics has the metrics of these services.
func NewMetrics(services []Service) Metrics { return Metrics{services: services} }

var (
	rpcsDesc = prometheus.NewDesc("evenkeel_client_rpcs_total",
		"RPCs by their final status.", []string{"service", "code"}, nil)
	notSentDesc = prometheus.NewDesc("evenkeel_client_rpcs_not_sent_total",
		"RPCs not sent because too many were in flight; they are RESOURCE_EXHAUSTED in evenkeel_client_rpcs_total.",
		[]string{"service"}, nil)
	attemptsDesc = prometheus.NewDesc("evenkeel_client_attempts_total",
		"Attempts of RPCs, by whether they ended with OK.", []string{"service", "ok"}, nil)
	transparentDesc = prometheus.NewDesc("evenkeel_client_transparent_retries_total",
		"Attempts that gRPC repeated by itself because the server had not processed the one before.",
		[]string{"service"}, nil)
	latencyDesc = prometheus.NewDesc("evenkeel_client_rpc_latency_seconds",
		"Latency of RPCs that succeeded, from the time they were meant to be sent.", []string{"service"}, nil)
	connectionsDesc = prometheus.NewDesc("evenkeel_client_connections",
		"Open connections.", []string{"service"}, nil)
)

// latencyBounds are the upper bounds of the latency's buckets, in seconds.
var latencyBounds = []float64{
	0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
}

// Describe names the metrics.
func (Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		rpcsDesc, notSentDesc, attemptsDesc, transparentDesc, latencyDesc, connectionsDesc,
	} {
		descs <- d
	}
}

// Collect makes the metrics of the totals.
func (m Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, s := range m.services {
		t := s.Generator.Recorder.Totals()
		count := func(desc *prometheus.Desc, n int64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n),
				append([]string{s.Name}, labels...)...)
		}
		count(rpcsDesc, t.RPCs-t.Failed, "OK")
		for code, n := range t.ErrorsByCode {
			count(rpcsDesc, n, code)
		}
		count(notSentDesc, t.NotSent)
		count(attemptsDesc, t.Attempts-t.FailedAttempts, "true")
		count(attemptsDesc, t.FailedAttempts, "false")
		count(transparentDesc, t.TransparentRetries)
		metrics <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(t.Connections), s.Name)
		metrics <- withExemplars(prometheus.MustNewConstHistogram(latencyDesc, uint64(t.Latency.TotalCount()),
			t.LatencySum.Seconds(), buckets(t.Latency), s.Name), s.Generator.Recorder.Exemplars())
	}
}

// withExemplars gives each bucket the latest of the RPCs that are in it.
func withExemplars(histogram prometheus.Metric, exemplars []load.Exemplar) prometheus.Metric {
	if len(exemplars) == 0 {
		return histogram
	}
	all := make([]prometheus.Exemplar, len(exemplars))
	for i, e := range exemplars {
		all[i] = prometheus.Exemplar{Value: e.Latency.Seconds(), Labels: prometheus.Labels{"trace_id": e.TraceID}, Timestamp: e.At}
	}

	return prometheus.MustNewMetricWithExemplars(histogram, all...)
}

// buckets is how many of the latencies, in microseconds, are within each bound.
func buckets(latency *hdrhistogram.Histogram) map[float64]uint64 {
	within := make(map[float64]uint64, len(latencyBounds))
	bars := latency.Distribution()
	var sum int64
	for _, bound := range latencyBounds {
		for len(bars) > 0 && float64(bars[0].To)/1e6 <= bound {
			sum += bars[0].Count
			bars = bars[1:]
		}
		within[bound] = uint64(sum)
	}

	return within
}
