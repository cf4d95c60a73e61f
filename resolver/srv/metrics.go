package srv

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of a look-up, as the metric has them.
const (
	lookupOK      = "ok"
	lookupPartial = "partial"
	lookupEmpty   = "empty"
	lookupFailed  = "failed"
)

// status is what the metrics say about one resolver.
type status struct {
	endpoints int
	answered  time.Time // when the last answer came that was no failure; zero before the first
	next      time.Time // when the next look-up is due
}

func (r *srvResolver) publish(endpoints int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.endpoints, r.status.answered = endpoints, time.Now()
}

func (r *srvResolver) scheduled(next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.next = next
}

// Collector collects the metrics of all targets of the process. Register it once.
func Collector() prometheus.Collector { return registry }

var registry = newCollector()

type collector struct {
	lookups *prometheus.CounterVec
	updates *prometheus.CounterVec

	mu   sync.Mutex
	live map[*srvResolver]struct{}
}

const (
	nameLabel = "name"
	portLabel = "port"
)

var (
	endpointsDesc = prometheus.NewDesc("srv_resolver_endpoints",
		"Endpoints of the target by the last answer. The least of its channels.", []string{nameLabel, portLabel}, nil)
	ageDesc = prometheus.NewDesc("srv_resolver_answer_age_seconds",
		"Time since DNS last answered for the target, were it that there is nothing. The longest of its channels.", []string{nameLabel, portLabel}, nil)
	nextDesc = prometheus.NewDesc("srv_resolver_next_lookup_seconds",
		"Time until the target is looked up again; negative while it is being looked up. The shortest of its channels.", []string{nameLabel, portLabel}, nil)
)

func newCollector() *collector {
	return &collector{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "srv_resolver_lookups_total",
			Help: "Look-ups of the target, by result: ok, partial (the addresses of some hosts could not be looked up), empty, failed.",
		}, []string{nameLabel, portLabel, "result"}),
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "srv_resolver_updates_total",
			Help: "Changes of the set of endpoints that gRPC was told of.",
		}, []string{nameLabel, portLabel}),
		live: make(map[*srvResolver]struct{}),
	}
}

// add begins with zeros: a rate needs a first value.
func (c *collector) add(r *srvResolver) {
	for _, result := range []string{lookupOK, lookupPartial, lookupEmpty, lookupFailed} {
		c.lookups.WithLabelValues(r.target.Name, r.target.Port, result)
	}
	c.updates.WithLabelValues(r.target.Name, r.target.Port)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[r] = struct{}{}
}

func (c *collector) remove(r *srvResolver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, r)
}

func (c *collector) count(t Target, result string) {
	c.lookups.WithLabelValues(t.Name, t.Port, result).Inc()
}
func (c *collector) countUpdate(t Target) { c.updates.WithLabelValues(t.Name, t.Port).Inc() }

// Describe is for Prometheus.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	c.lookups.Describe(descs)
	c.updates.Describe(descs)
	descs <- endpointsDesc
	descs <- ageDesc
	descs <- nextDesc
}

// Collect is for Prometheus.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	c.lookups.Collect(metrics)
	c.updates.Collect(metrics)
	for target, s := range c.statuses() {
		gauge := func(desc *prometheus.Desc, value float64) {
			metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, target.Name, target.Port)
		}
		if !s.answered.IsZero() {
			gauge(endpointsDesc, float64(s.endpoints))
			gauge(ageDesc, time.Since(s.answered).Seconds())
		}
		if !s.next.IsZero() {
			gauge(nextDesc, time.Until(s.next).Seconds())
		}
	}
}

// statuses are those of the targets. Of several channels to one, the one that fares worst
// counts: that is what alerts are about.
func (c *collector) statuses() map[Target]status {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[Target]status, len(c.live))
	for r := range c.live {
		r.mu.Lock()
		mine := r.status
		r.mu.Unlock()
		worst, known := all[r.target]
		if !known {
			all[r.target] = mine

			continue
		}
		if worst.answered.IsZero() || !mine.answered.IsZero() && mine.endpoints < worst.endpoints {
			worst.endpoints = mine.endpoints
		}
		worst.answered = earlier(worst.answered, mine.answered)
		worst.next = earlier(worst.next, mine.next)
		all[r.target] = worst
	}

	return all
}

// earlier passes over the zero time, which is that of a channel that has only begun.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}

	return a
}
