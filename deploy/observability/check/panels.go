package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Overlays that have what a query is about, by how its metrics begin. Any overlay has the rest.
var uses = map[string]string{
	"endpointslice_resolver_": "endpointslice",
	"srv_resolver_":           "dns-srv",
	"consistent_hash_":        "consistent-hash",
}

// Overlay is one that has data for a query.
func Overlay(query string) string {
	for _, metric := range Metrics(query) {
		for prefix, overlay := range uses {
			if strings.HasPrefix(metric, prefix) {
				return overlay
			}
		}
	}

	return "endpointslice"
}

// Answers runs the query of every panel, for rng in the overlay that has what it is about, and says which of them have had no
// number in the time given.
func (p *Prometheus) Answers(ctx context.Context, dashboards []Dashboard, from, to time.Time) error {
	var errs []error
	for _, dashboard := range dashboards {
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				if err := p.Answer(ctx, target.Filled(Overlay(target.Expr), "rng"), from, to); err != nil {
					errs = append(errs, fmt.Errorf("%s: panel %q, query %s: %w", dashboard.File, panel.Title, target.RefID, err))
				}
			}
		}
	}

	return errors.Join(errs...)
}

// Records says which recording rules have had no number in the time given.
func (p *Prometheus) Records(ctx context.Context, rules []Rule, from, to time.Time) error {
	var errs []error
	for _, rule := range rules {
		if rule.Record != "" {
			errs = append(errs, p.Answer(ctx, rule.Record, from, to))
		}
	}

	return errors.Join(errs...)
}

// Answer is an error if a query has had no number in the time given.
func (p *Prometheus) Answer(ctx context.Context, query string, from, to time.Time) error {
	series, err := p.Range(ctx, query, from, to, 5*time.Second)
	if err != nil {
		return err
	}
	number := func(v Value) bool { return !math.IsNaN(v.Value) && !math.IsInf(v.Value, 0) }
	if !slices.ContainsFunc(series, func(s Series) bool { return slices.ContainsFunc(s.Values, number) }) {
		return fmt.Errorf("no data: %s", query)
	}

	return nil
}

// Firing is an alert that fired without a pause.
type Firing struct {
	Alert, Namespace string
	From, To         time.Time
}

// String is as in "EvenkeelImbalance in clusterip, 35 s".
func (f Firing) String() string {
	return fmt.Sprintf("%s in %s, %.0f s", f.Alert, f.Namespace, f.To.Sub(f.From).Seconds())
}

// Firings are what fired in the time given, at least for one evaluation.
func (p *Prometheus) Firings(ctx context.Context, from, to time.Time) ([]Firing, error) {
	const step = 5 * time.Second // as often as the rules are evaluated
	series, err := p.Range(ctx, `max by (alertname, namespace) (ALERTS{alertstate="firing"})`, from, to, step)
	if err != nil {
		return nil, err
	}
	var all []Firing
	for _, s := range series {
		for i, v := range s.Values {
			if i == 0 || v.At.Sub(s.Values[i-1].At) > step {
				all = append(all, Firing{Alert: s.Metric["alertname"], Namespace: s.Metric["namespace"], From: v.At})
			}
			all[len(all)-1].To = v.At.Add(step)
		}
	}
	slices.SortFunc(all, func(a, b Firing) int { return a.From.Compare(b.From) })

	return all, nil
}
