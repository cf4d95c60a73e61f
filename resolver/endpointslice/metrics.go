package endpointslice

import (
	"cmp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	labelNames = []string{"namespace", "service"}

	// counts outlive the watches that they are of, as counters should.
	counts = struct{ updates, restarts, errors *prometheus.CounterVec }{
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "endpointslice_resolver_updates_total",
			Help: "States handed to channels.",
		}, labelNames),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "endpointslice_resolver_watch_restarts_total",
			Help: "Watches that had begun and ended, and were resumed: closed by the server, expired (410), broken, or with another error.",
		}, append(labelNames, "reason")),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "endpointslice_resolver_errors_total",
			Help: "Errors: failed requests to the API server, and states without an endpoint that could be used.",
		}, append(labelNames, "reason")),
	}

	endpointsDesc = prometheus.NewDesc("endpointslice_resolver_endpoints",
		"Endpoints in the last state of the API server, each pod once, by its best condition.", append(labelNames, "state"), nil)
	ageDesc = prometheus.NewDesc("endpointslice_resolver_last_event_age_seconds",
		"Time since the API server was last heard of: a list, an event or a bookmark.", labelNames, nil)
)

// live are the services that are watched now.
var live = &services{all: map[*service]struct{}{}}

type services struct {
	mu  sync.Mutex
	all map[*service]struct{}
}

func (l *services) add(s *service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[s] = struct{}{}
}

func (l *services) remove(s *service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, s)
}

// Collector has the metrics of all targets of the process. It is not registered anywhere.
func Collector() prometheus.Collector { return collector{} }

type collector struct{}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	counts.updates.Describe(descs)
	counts.restarts.Describe(descs)
	counts.errors.Describe(descs)
	descs <- endpointsDesc
	descs <- ageDesc
}

// Collect implements prometheus.Collector. A Service that two Builders watch is counted as the sum of both, and its age
// is that of the one which has heard nothing for longer.
func (collector) Collect(metrics chan<- prometheus.Metric) {
	counts.updates.Collect(metrics)
	counts.restarts.Collect(metrics)
	counts.errors.Collect(metrics)
	type gauges struct {
		endpoints [conditions]int
		age       time.Duration
	}
	all := map[serviceKey]*gauges{}
	live.mu.Lock()
	defer live.mu.Unlock()
	for s := range live.all {
		key := serviceKey{namespace: s.namespace, name: s.name}
		g := all[key]
		if g == nil {
			g = &gauges{}
			all[key] = g
		}
		for state, n := range countConditions(s.store.current().slices) {
			g.endpoints[state] += n
		}
		g.age = max(g.age, s.clock.Since(s.store.lastHeard()))
	}
	for key, g := range all {
		for state, n := range g.endpoints {
			metrics <- prometheus.MustNewConstMetric(endpointsDesc, prometheus.GaugeValue, float64(n),
				key.namespace, key.name, condition(state).String())
		}
		metrics <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, g.age.Seconds(), key.namespace, key.name)
	}
}

// countConditions counts the endpoints, whatever their ports: a pod once, by its best entry.
func countConditions(all []*slice) [conditions]int {
	best := map[string]condition{}
	for _, s := range all {
		for i := range s.endpoints {
			e := &s.endpoints[i]
			key := cmp.Or(e.id, e.addr.String())
			best[key] = max(best[key], e.condition)
		}
	}
	var counted [conditions]int
	for _, c := range best {
		counted[c]++
	}
	return counted
}
