package compare

import (
	"math"
	"strconv"

	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// Figure is something that sides are compared by. A new figure needs a line below.
type Figure[T any] struct {
	Title string
	// Countable says that 0 against more is worth telling, however few the runs are.
	Countable bool
	style     style
	of        func(*T) *float64
}

// style is how a figure is written, and which way of it is good: 1 is higher, -1 lower, 0
// neither.
type style struct {
	format func(float64) string
	better int
}

var (
	plain    = style{report.Number, -1}
	counts   = style{count, -1}
	price    = style{count, 0} // what a strategy pays is no fault of its own
	evenness = style{index, 1}
	kept     = style{percent, 1}
	moved    = style{percent, 0} // less than had to is not better
)

// Sample is the figure over the runs of a side; nil is a run that the side has not got.
func (f Figure[T]) Sample(runs []*T) Sample {
	values := make([]*float64, len(runs))
	for i, run := range runs {
		if run != nil {
			values[i] = f.of(run)
		}
	}
	return NewSample(values)
}

// Text is a value as the figure is written.
func (f Figure[T]) Text(value float64) string { return f.style.format(value) }

// Better says which way is good: 1 is higher, -1 lower, 0 neither.
func (f Figure[T]) Better() int { return f.style.better }

// Figures are those that overlays are compared by, of a whole run.
var Figures = []Figure[results.Summary]{
	{"failed, graceful", true, counts, func(s *results.Summary) *float64 {
		if s.GracefulRPCs == 0 {
			return nil
		}
		return whole(&s.GracefulFailed)
	}},
	{"failed, all", true, counts, func(s *results.Summary) *float64 {
		if s.RPCs == 0 {
			return nil
		}
		return whole(&s.Failed)
	}},
	{"never reached, pods", true, counts, func(s *results.Summary) *float64 {
		if s.NewPods.Count == 0 {
			return nil
		}
		return whole(&s.NewPods.Never)
	}},
	{"first RPC median, s", false, plain, func(s *results.Summary) *float64 { return s.NewPods.Median }},
	{"first RPC worst, s", false, plain, func(s *results.Summary) *float64 { return s.NewPods.Worst }},
	{"off dead pod worst, s", false, plain, func(s *results.Summary) *float64 { return s.OffPods.Worst }},
	{"max/mean", false, plain, func(s *results.Summary) *float64 { return s.Steady.MaxOverMean }},
	{"Jain", false, evenness, func(s *results.Summary) *float64 { return s.Steady.Jain }},
	{"affinity", false, kept, func(s *results.Summary) *float64 { return s.Steady.Affinity }},
	{"keys moved", false, moved, func(s *results.Summary) *float64 { return s.Moved.Keys }},
	{"keys that had to", false, moved, func(s *results.Summary) *float64 { return s.Moved.Ideal }},
	{"p50, ms", false, plain, func(s *results.Summary) *float64 { return s.Steady.P50 }},
	{"p99, ms", false, plain, func(s *results.Summary) *float64 { return s.Steady.P99 }},
	{"p99 worst phase, ms", false, plain, func(s *results.Summary) *float64 { return s.P99 }},
	{"connections", false, price, func(s *results.Summary) *float64 { return whole(s.Connections) }},
	{"DNS queries", false, price, func(s *results.Summary) *float64 { return whole(s.Cost.DNSQueries) }},
	{"API requests", false, price, func(s *results.Summary) *float64 { return whole(s.Cost.APIRequests) }},
	{"watch events", false, price, func(s *results.Summary) *float64 { return whole(s.Cost.WatchEvents) }},
	{"watch bytes", false, price, func(s *results.Summary) *float64 { return whole(s.Cost.WatchBytes) }},
}

// PhaseFigures are those that overlays are compared by, of one phase.
var PhaseFigures = []Figure[results.Phase]{
	{"failed", true, counts, func(p *results.Phase) *float64 {
		if p.RPCs == 0 {
			return nil
		}
		return whole(&p.Failed)
	}},
	{"failed attempts", true, counts, func(p *results.Phase) *float64 {
		if p.RPCs == 0 {
			return nil
		}
		return whole(&p.FailedAttempts)
	}},
	{"first RPC worst, s", false, plain, func(p *results.Phase) *float64 {
		return worst(p.Pods, func(pod results.Pod) *float64 { return pod.FirstRPCSeconds })
	}},
	{"off dead pod worst, s", false, plain, func(p *results.Phase) *float64 {
		return worst(p.Pods, func(pod results.Pod) *float64 { return pod.OffSeconds })
	}},
	{"recovery, s", false, plain, func(p *results.Phase) *float64 { return p.RecoverySeconds }},
	{"max/mean", false, plain, func(p *results.Phase) *float64 { return p.MaxOverMean }},
	{"Jain", false, evenness, func(p *results.Phase) *float64 { return p.Jain }},
	{"affinity", false, kept, func(p *results.Phase) *float64 { return p.Affinity }},
	{"keys moved", false, moved, func(p *results.Phase) *float64 { return p.MovedKeys }},
	{"keys that had to", false, moved, func(p *results.Phase) *float64 { return p.MovedKeysIdeal }},
	{"p50, ms", false, plain, func(p *results.Phase) *float64 { return p.LatencyMs.P50 }},
	{"p99, ms", false, plain, func(p *results.Phase) *float64 { return p.LatencyMs.P99 }},
	{"connections", false, price, func(p *results.Phase) *float64 { return whole(p.Connections) }},
	{"DNS queries", false, price, func(p *results.Phase) *float64 { return whole(p.Cost.DNSQueries) }},
	{"API requests", false, price, func(p *results.Phase) *float64 { return whole(p.Cost.APIRequests) }},
	{"watch events", false, price, func(p *results.Phase) *float64 { return whole(p.Cost.WatchEvents) }},
}

func whole[N int | int64](n *N) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

func worst(pods []results.Pod, of func(results.Pod) *float64) *float64 {
	var worst *float64
	for _, pod := range pods {
		if v := of(pod); v != nil && (worst == nil || *v > *worst) {
			worst = v
		}
	}
	return worst
}

// count is a count; the median of an even number of runs may be half of one.
func count(f float64) string {
	if whole, part := math.Modf(f); math.Abs(part) == 0.5 && math.Abs(f) < 1000 {
		return report.Count(int64(whole)) + ".5"
	}
	return report.Count(int64(math.Round(f)))
}

// index has the three digits that tell a nearly even spread from an even one.
func index(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }

func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 1, 64) + " %" }
