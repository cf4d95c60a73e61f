// Package status shows what the client has measured: a report in JSON, a summary for
// people, the stream of frames, and metrics. The page is package live.
package status

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/load"
)

// Service is a service under load.
type Service struct {
	// Name is "rng" or "geoip".
	Name string
	// Target and ServiceConfig are the strategy.
	Target, ServiceConfig string
	// Generator drives it.
	Generator *load.Generator
}

// Report is what became of all RPCs since the start, but for the last few frames
// that are not closed yet. Times are RFC 3339.
type Report struct {
	// StartedAt is when the first of the services was first driven.
	StartedAt time.Time `json:"startedAt"`
	// Seconds is how long ago that was.
	Seconds  float64         `json:"seconds"`
	Services []ServiceReport `json:"services"`
}

// ServiceReport is the part of one service. The counts are those of
// loadreport.Frame, added up.
type ServiceReport struct {
	Service       string `json:"service"`
	Target        string `json:"target"`
	ServiceConfig string `json:"serviceConfig"`
	// Rate is the arrival rate in RPCs a second; 0 in a closed loop, and Concurrency
	// is then its number of workers.
	Rate        float64 `json:"rate"`
	Concurrency int     `json:"concurrency,omitempty"`
	// ChangedByHand says that the load is not the one that the client was started with, or was
	// not at some time: somebody used the page's controls. Absent when nobody did.
	ChangedByHand bool `json:"changedByHand,omitempty"`
	// Keys says which keys the RPCs carry; absent when they carry none.
	Keys *loadreport.Keys `json:"keys,omitempty"`

	RPCs               int64            `json:"rpcs"`
	Failed             int64            `json:"failed"`
	ErrorsByCode       map[string]int64 `json:"errorsByCode"`
	NotSent            int64            `json:"notSent"`
	Attempts           int64            `json:"attempts"`
	FailedAttempts     int64            `json:"failedAttempts"`
	TransparentRetries int64            `json:"transparentRetries"`
	LatencyMs          Latency          `json:"latencyMs"`
	Connections        int64            `json:"connections"`
	// Pods are the pods heard of most recently, each by name and address.
	Pods []loadreport.Pod `json:"pods"`
	// OtherPods is what the pods did that are not in Pods any more; absent when
	// there are none.
	OtherPods *OtherPods `json:"otherPods,omitempty"`
	// LastError is an example of what failed, at LastErrorAt; absent when nothing did.
	LastError   string     `json:"lastError,omitempty"`
	LastErrorAt *time.Time `json:"lastErrorAt,omitempty"`
}

// Latency is in milliseconds from the intended send time, exact to two
// significant digits, over the RPCs that succeeded; null when none did.
type Latency struct {
	P50  *float64 `json:"p50"`
	P90  *float64 `json:"p90"`
	P99  *float64 `json:"p99"`
	P999 *float64 `json:"p999"`
	Max  *float64 `json:"max"`
}

// OtherPods is what a number of pods did together.
type OtherPods struct {
	Pods           int64     `json:"pods"`
	RPCs           int64     `json:"rpcs"`
	Attempts       int64     `json:"attempts"`
	FailedAttempts int64     `json:"failedAttempts"`
	FirstAttempt   time.Time `json:"firstAttempt"`
	LastAttempt    time.Time `json:"lastAttempt"`
}

// NewReport is the report at this moment.
func NewReport(services []Service) Report {
	var r Report
	for _, s := range services {
		t := s.Generator.Recorder.Totals()
		if r.StartedAt.IsZero() || t.Since.Before(r.StartedAt) {
			r.StartedAt = t.Since
		}
		r.Services = append(r.Services, newServiceReport(s, &t))
	}
	r.Seconds = time.Since(r.StartedAt).Seconds()

	return r
}

func newServiceReport(s Service, t *load.Totals) ServiceReport {
	plan := s.Generator.Plan()
	r := ServiceReport{
		Service:            s.Name,
		Target:             s.Target,
		ServiceConfig:      s.ServiceConfig,
		Rate:               plan.Rate,
		ChangedByHand:      s.Generator.Changed(),
		Keys:               plan.Keys.Settings(),
		RPCs:               t.RPCs,
		Failed:             t.Failed,
		ErrorsByCode:       t.ErrorsByCode,
		NotSent:            t.NotSent,
		Attempts:           t.Attempts,
		FailedAttempts:     t.FailedAttempts,
		TransparentRetries: t.TransparentRetries,
		LatencyMs:          newLatency(t),
		Connections:        t.Connections,
		Pods:               append([]loadreport.Pod{}, t.Pods...),
		LastError:          t.LastError,
	}
	if r.Rate == 0 {
		r.Concurrency = plan.Concurrency
	}
	if t.LastError != "" {
		r.LastErrorAt = &t.LastErrorAt
	}
	if o := t.Others; t.OtherPods > 0 {
		r.OtherPods = &OtherPods{
			Pods: t.OtherPods, RPCs: o.RPCs, Attempts: o.Attempts, FailedAttempts: o.FailedAttempts,
			FirstAttempt: o.FirstAttempt, LastAttempt: o.LastAttempt,
		}
	}

	return r
}

func newLatency(t *load.Totals) Latency {
	if t.Latency.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percentile float64) *float64 {
		ms := float64(t.Latency.ValueAtPercentile(percentile)) / 1000

		return &ms
	}

	return Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: at(100)}
}

// ServeReport answers with the report.
func ServeReport(services []Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		// A reader that has gone away is no news.
		_ = encoder.Encode(NewReport(services))
	})
}
