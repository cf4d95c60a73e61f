package consistenthash

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/cpu"
)

// outcome is what became of a pick.
type outcome int

const (
	byOwner     outcome = iota // the owner of the key took it
	passedOn                   // the endpoint whose turn it was is full
	steppedOver                // the owner is in TRANSIENT_FAILURE
	atRandom                   // no key, missingKey is "random"
	noKey                      // no key, missingKey is "error"
	queued                     // waits until an endpoint has connected
	failed                     // all endpoints are in TRANSIENT_FAILURE
	outcomeKinds
)

func (o outcome) String() string {
	return [outcomeKinds]string{
		"owner", "passed_on", "stepped_over", "random", "missing_key", "queued", "failed",
	}[o]
}

// outcomeCounts is one part of the process' counts.
type outcomeCounts struct {
	of [outcomeKinds]atomic.Uint64
	_  cpu.CacheLinePad
}

// outcomes is summed when it is collected. Endpoints share its parts by their
// names, so that two cores that pick two endpoints seldom write to one cache
// line, and nothing has to be kept, or is lost, when an endpoint goes.
var outcomes [64]outcomeCounts

var (
	ringBuilds       atomic.Uint64
	ringBuildNanosec atomic.Int64
)

func countRing(took time.Duration) {
	ringBuilds.Add(1)
	ringBuildNanosec.Add(took.Nanoseconds())
}

var (
	picksDesc = prometheus.NewDesc("consistent_hash_picks_total",
		"Picks by outcome. An RPC that waits or is retried is picked more than once.", []string{"outcome"}, nil)
	ringBuildsDesc = prometheus.NewDesc("consistent_hash_ring_builds_total",
		"Rings built because endpoints, weights or the config changed.", nil, nil)
	ringSecondsDesc = prometheus.NewDesc("consistent_hash_ring_build_seconds_total",
		"Time spent on building rings.", nil, nil)
)

type collector struct{}

// Collector returns the metrics of all channels of the process that use the
// policy. There is no label for endpoints or targets, so their number is fixed.
func Collector() prometheus.Collector { return collector{} }

func (collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- picksDesc
	descs <- ringBuildsDesc
	descs <- ringSecondsDesc
}

func (collector) Collect(metrics chan<- prometheus.Metric) {
	for o := range outcomeKinds {
		metrics <- prometheus.MustNewConstMetric(picksDesc, prometheus.CounterValue, float64(picks(o)), o.String())
	}
	metrics <- prometheus.MustNewConstMetric(ringBuildsDesc, prometheus.CounterValue, float64(ringBuilds.Load()))
	metrics <- prometheus.MustNewConstMetric(ringSecondsDesc, prometheus.CounterValue, time.Duration(ringBuildNanosec.Load()).Seconds())
}

func picks(o outcome) (sum uint64) {
	for i := range outcomes {
		sum += outcomes[i].of[o].Load()
	}
	return sum
}
