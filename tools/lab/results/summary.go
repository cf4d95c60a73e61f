package results

import (
	"slices"
	"time"
)

// Summary is a run in the few figures that overlays are compared by. The
// terminal table, the report and its sentences all read it, so that they cannot
// disagree. A figure that could not be measured is nil.
type Summary struct {
	// RPCs and Failed are over the whole run.
	RPCs, Failed int64
	// GracefulRPCs and GracefulFailed are over the phases in which nothing excuses
	// a failed RPC.
	GracefulRPCs, GracefulFailed int64

	Steady  Steady
	NewPods NewPods
	OffPods OffPods
	Moved   Moved

	// P99 is the highest of any phase, in milliseconds.
	P99 *float64
	// Connections is the largest number open at once in any phase.
	Connections *int64
	// Cost is the sum over the phases; a figure that one phase lacks is nil, since
	// the sum of the others would understate it.
	Cost Cost
}

// Steady is what the run did while nothing was done to it: over the phases
// without an action. Where there are several, each figure is the worst of them.
type Steady struct {
	// MaxOverMean and Jain are the highest and the lowest.
	MaxOverMean, Jain *float64
	// Affinity is the lowest.
	Affinity *float64
	// P50 and P99 are the highest, in milliseconds.
	P50, P99 *float64
	// Pods counts the pods that were ready throughout the phase whose spread was
	// the worst, Used those of them that answered an RPC, and RPCs what they
	// answered together.
	Pods, Used int
	RPCs       int64
}

// NewPods is how soon pods that became ready during the run were used, from
// being ready in an EndpointSlice to the first attempt, in seconds.
type NewPods struct {
	// Count is how many became ready, Never how many of them were sent nothing.
	Count, Never int
	// Median and Worst are over those that were reached; nil when none was.
	Median, Worst *float64
}

// OffPods is how long pods that stopped being ready were still sent attempts,
// in seconds.
type OffPods struct {
	Count int
	// Worst is nil when no pod stopped being ready.
	Worst *float64
}

// Keyed says whether the RPCs of any run carried keys.
func (r *Results) Keyed() bool {
	return slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Keys != nil })
}

// Moved is how many keys moved to another pod when the pods changed, of the phase in which
// the most moved that need not have: Keys is the share that did, Ideal the share that had
// to. Both are nil where no phase tells.
type Moved struct {
	Keys, Ideal *float64
}

// Summary sums the run up. The scenario says which phases were graceful and
// which had an action; a phase that it does not have counts in the totals only.
func (r *Run) Summary(s *Scenario) Summary {
	var sum Summary
	for i := range r.Phases {
		p := &r.Phases[i]
		sum.RPCs += p.RPCs
		sum.Failed += p.Failed
		sum.P99 = highest(sum.P99, p.LatencyMs.P99)
		sum.Connections = highest(sum.Connections, p.Connections)
		sum.Moved.add(p)
		if i >= len(s.Phases) {
			continue
		}
		if s.Phases[i].Graceful {
			sum.GracefulRPCs += p.RPCs
			sum.GracefulFailed += p.Failed
		}
		if s.Phases[i].Action == "" {
			sum.Steady.add(p)
		}
	}
	sum.NewPods = r.newPods()
	sum.OffPods = r.offPods()
	sum.Cost = Cost{
		DNSQueries:  r.total(func(c *Cost) *int64 { return c.DNSQueries }),
		APIRequests: r.total(func(c *Cost) *int64 { return c.APIRequests }),
		WatchEvents: r.total(func(c *Cost) *int64 { return c.WatchEvents }),
		WatchBytes:  r.total(func(c *Cost) *int64 { return c.WatchBytes }),
	}
	return sum
}

func (s *Steady) add(p *Phase) {
	worse := p.MaxOverMean != nil && (s.MaxOverMean == nil || *p.MaxOverMean > *s.MaxOverMean)
	if worse || s.Pods == 0 {
		s.Pods, s.Used, s.RPCs = 0, 0, 0
		for _, pod := range p.ReadyThroughout() {
			s.Pods++
			s.RPCs += pod.RPCs
			if pod.RPCs > 0 {
				s.Used++
			}
		}
	}
	s.MaxOverMean = highest(s.MaxOverMean, p.MaxOverMean)
	s.Jain = lowest(s.Jain, p.Jain)
	s.Affinity = lowest(s.Affinity, p.Affinity)
	s.P50 = highest(s.P50, p.LatencyMs.P50)
	s.P99 = highest(s.P99, p.LatencyMs.P99)
}

// add leaves a phase out in which every key had to move: it tells nothing.
func (m *Moved) add(p *Phase) {
	if p.MovedKeys == nil || p.MovedKeysIdeal == nil || *p.MovedKeysIdeal >= 1 {
		return
	}
	if m.Keys == nil || *p.MovedKeys-*p.MovedKeysIdeal > *m.Keys-*m.Ideal {
		m.Keys, m.Ideal = p.MovedKeys, p.MovedKeysIdeal
	}
}

// ReadyThroughout returns the pods that were ready for the whole phase, which
// are those that MaxOverMean and Jain are over.
func (p *Phase) ReadyThroughout() []Pod {
	end := p.StartedAt.Add(time.Duration(p.Seconds * float64(time.Second)))
	var ready []Pod
	for _, pod := range p.Pods {
		if pod.ReadyAt != nil && !pod.ReadyAt.After(p.StartedAt) && (pod.UnreadyAt == nil || !pod.UnreadyAt.Before(end)) {
			ready = append(ready, pod)
		}
	}
	return ready
}

func (r *Run) newPods() NewPods {
	var pods NewPods
	var waits []float64
	for i := range r.Phases {
		from := r.Phases[i].StartedAt
		// A phase lasts until the next begins, so that rounding loses no pod.
		var until time.Time
		if i+1 < len(r.Phases) {
			until = r.Phases[i+1].StartedAt
		}
		for _, pod := range r.Phases[i].Pods {
			became := pod.ReadyAt != nil && !pod.ReadyAt.Before(from) && (until.IsZero() || pod.ReadyAt.Before(until))
			switch {
			case pod.FirstRPCSeconds != nil:
				pods.Count++
				waits = append(waits, *pod.FirstRPCSeconds)
			case became:
				pods.Count++
				pods.Never++
			}
		}
	}
	if len(waits) == 0 {
		return pods
	}
	slices.Sort(waits)
	middle, worst := waits[len(waits)/2], waits[len(waits)-1]
	if len(waits)%2 == 0 {
		middle = (waits[len(waits)/2-1] + middle) / 2
	}
	pods.Median, pods.Worst = &middle, &worst
	return pods
}

func (r *Run) offPods() OffPods {
	var pods OffPods
	for i := range r.Phases {
		for _, pod := range r.Phases[i].Pods {
			if pod.OffSeconds != nil {
				pods.Count++
				pods.Worst = highest(pods.Worst, pod.OffSeconds)
			}
		}
	}
	return pods
}

func (r *Run) total(figure func(*Cost) *int64) *int64 {
	if len(r.Phases) == 0 {
		return nil
	}
	var sum int64
	for i := range r.Phases {
		n := figure(&r.Phases[i].Cost)
		if n == nil {
			return nil
		}
		sum += *n
	}
	return &sum
}

func highest[T int64 | float64](a, b *T) *T {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func lowest[T int64 | float64](a, b *T) *T {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}
