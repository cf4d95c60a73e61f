package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// column is a figure of the scorecard. A new figure needs a line here, and
// nothing else in the page.
type column struct {
	Key   string
	Group string
	Title string
	// About defines the figure in one line; Missing says why it may be absent.
	About, Missing string
	figure         func(*results.Summary) figure
	// Lead is set on the first column of its group.
	Lead bool
	// keys is set on a column that is of use only where RPCs carry keys.
	keys bool
}

// figure is a column's value for one run.
type figure struct {
	Text string
	// Sort orders the rows; nil sorts last whichever way the column is sorted.
	Sort *float64
	// Alarm marks what no reader should overlook.
	Alarm bool
}

const (
	unmeasured = "this environment cannot see it"
	noNewPod   = "no pod became ready during the run"
	noSuccess  = "no RPC succeeded in a phase without an action"
	noSpread   = "fewer than two pods were ready for the whole of a phase without an action, or no RPC succeeded"
	noPairs    = "the RPCs carried no keys, or too few came again"
	noMove     = "the RPCs carried no keys, too few keys had a pod before and after, or the pods did not change"
)

// columns are those of the scorecard, with those of keys if there are any.
func columns(keyed bool) []column {
	list := []column{
		{
			Key: "spread", Group: "Spread", Title: "max/mean",
			About:   "The busiest pod's share of the RPCs over the mean share, over the pods ready for the whole phase: 1 is even, N is one pod of N. The highest of the phases without an action.",
			Missing: noSpread,
			figure:  func(s *results.Summary) figure { return measured(s.Steady.MaxOverMean, Number) },
		},
		{
			Key: "jain", Group: "Spread", Title: "Jain",
			About:   "Jain's fairness index over the same pods: 1 is even, 1/N is one pod of N. The lowest of the phases without an action.",
			Missing: noSpread,
			figure:  func(s *results.Summary) figure { return measured(s.Steady.Jain, index) },
		},
		{
			Key: "affinity", Group: "Keys", Title: "affinity", keys: true,
			About:   "The share of RPCs that went to the same pod as the RPC with their key before: 100 % is perfect, 1/N is chance. The lowest of the phases without an action. Read it beside max/mean: one pod for all is perfect too.",
			Missing: noPairs,
			figure:  func(s *results.Summary) figure { return measured(s.Steady.Affinity, affinity) },
		},
		{
			Key: "moved", Group: "Keys", Title: "moved", keys: true,
			About:   "When pods came or went: the share of keys that another pod serves after. Of the phase in which the most moved that need not have.",
			Missing: noMove,
			figure:  func(s *results.Summary) figure { return measured(s.Moved.Keys, percent) },
		},
		{
			Key: "must", Group: "Keys", Title: "had to", keys: true,
			About:   "The share that had to move in that phase for the load to stay even: 1 - |A∩B| / max(|A|, |B|), A being the ready pods before and B after.",
			Missing: noMove,
			figure:  func(s *results.Summary) figure { return measured(s.Moved.Ideal, percent) },
		},
		{
			Key: "graceful", Group: "Failed RPCs", Title: "graceful",
			About:   "RPCs whose final status, after retries, was not OK, in the phases in which nothing excuses that: scaling, rolling updates.",
			Missing: "no RPC was sent in a graceful phase",
			figure:  gracefulFailures,
		},
		{
			Key: "failed", Group: "Failed RPCs", Title: "all",
			About:  "The same over the whole run, kills and an empty Service included.",
			figure: func(s *results.Summary) figure { return counted(s.Failed, false) },
		},
		{
			Key: "median", Group: "New pod’s first RPC, s", Title: "median",
			About:   "From a pod being ready in its EndpointSlice to the first attempt sent to it, over the pods that became ready during the run and were reached.",
			Missing: "no new pod was reached",
			figure:  func(s *results.Summary) figure { return measured(s.NewPods.Median, Number) },
		},
		{
			Key: "worst", Group: "New pod’s first RPC, s", Title: "worst",
			About:   "The longest of these times; “never” when a pod that became ready was sent nothing before it left or the run ended.",
			Missing: noNewPod,
			figure: func(s *results.Summary) figure {
				if s.NewPods.Never > 0 {
					last := math.MaxFloat64
					return figure{Text: "never", Sort: &last, Alarm: true}
				}
				return measured(s.NewPods.Worst, Number)
			},
		},
		{
			Key: "never", Group: "New pod’s first RPC, s", Title: "never",
			About:   "How many of the pods that became ready during the run were sent nothing.",
			Missing: noNewPod,
			figure: func(s *results.Summary) figure {
				if s.NewPods.Count == 0 {
					return figure{Text: none}
				}
				never := figure{Text: fmt.Sprintf("%d of %d", s.NewPods.Never, s.NewPods.Count), Alarm: s.NewPods.Never > 0}
				share := float64(s.NewPods.Never) / float64(s.NewPods.Count)
				never.Sort = &share
				return never
			},
		},
		{
			Key: "off", Group: "Dead pod", Title: "off, s",
			About:   "From a pod no longer being ready to the last attempt sent to it; the longest such time.",
			Missing: "no pod stopped being ready during the run",
			figure:  func(s *results.Summary) figure { return measured(s.OffPods.Worst, Number) },
		},
		{
			Key: "p50", Group: "Latency, ms", Title: "p50",
			About:   "Median of the RPCs that succeeded, from the intended send time. The highest of the phases without an action.",
			Missing: noSuccess,
			figure:  func(s *results.Summary) figure { return measured(s.Steady.P50, Number) },
		},
		{
			Key: "p99", Group: "Latency, ms", Title: "p99",
			About:   "99th percentile, likewise.",
			Missing: noSuccess,
			figure:  func(s *results.Summary) figure { return measured(s.Steady.P99, Number) },
		},
		{
			Key: "p99worst", Group: "Latency, ms", Title: "p99 worst",
			About:   "99th percentile of the phase in which it was the highest, faults included.",
			Missing: "no RPC succeeded",
			figure:  func(s *results.Summary) figure { return measured(s.P99, Number) },
		},
		{
			Key: "connections", Group: "Cost", Title: "conns",
			About:   "The largest number of connections that the client had open at once.",
			Missing: unmeasured,
			figure:  func(s *results.Summary) figure { return measured(s.Connections, Count) },
		},
		{
			Key: "dns", Group: "Cost", Title: "DNS",
			About:   "DNS queries that the client sent, over the whole run.",
			Missing: unmeasured,
			figure:  func(s *results.Summary) figure { return measured(s.Cost.DNSQueries, Count) },
		},
		{
			Key: "api", Group: "Cost", Title: "API",
			About:   "Requests that the client sent to the Kubernetes API, over the whole run.",
			Missing: unmeasured,
			figure:  func(s *results.Summary) figure { return measured(s.Cost.APIRequests, Count) },
		},
		{
			Key: "watch", Group: "Cost", Title: "watch events",
			About:   "Events that the Kubernetes API sent to the client, over the whole run.",
			Missing: unmeasured,
			figure:  func(s *results.Summary) figure { return measured(s.Cost.WatchEvents, Count) },
		},
	}
	list = slices.DeleteFunc(list, func(c column) bool { return c.keys && !keyed })
	group := ""
	for i := range list {
		list[i].Lead = list[i].Group != group
		group = list[i].Group
	}
	return list
}

func gracefulFailures(s *results.Summary) figure {
	if s.GracefulRPCs == 0 {
		return figure{Text: none}
	}
	return counted(s.GracefulFailed, s.GracefulFailed > 0)
}

func measured[T int64 | float64](value *T, text func(T) string) figure {
	if value == nil {
		return figure{Text: none}
	}
	order := float64(*value)
	return figure{Text: text(*value), Sort: &order}
}

func counted(n int64, alarm bool) figure {
	f := measured(&n, Count)
	f.Alarm = alarm
	return f
}

// phaseColumn is a figure of the per-phase tables.
type phaseColumn struct {
	Title, About, Missing string
	figure                func(*results.Phase) figure
}

// phaseColumns are those of the per-phase tables, with those of keys if there are any.
func phaseColumns(keyed bool) []phaseColumn {
	latency := func(title string, of func(*results.Latency) *float64) phaseColumn {
		return phaseColumn{
			title + ", ms", "Latency of the RPCs that succeeded, from the intended send time.", "no RPC succeeded",
			func(p *results.Phase) figure { return measured(of(&p.LatencyMs), Number) },
		}
	}
	cost := func(title, about string, of func(*results.Cost) *int64) phaseColumn {
		return phaseColumn{title, about, unmeasured, func(p *results.Phase) figure { return measured(of(&p.Cost), Count) }}
	}
	list := []phaseColumn{
		{
			"pods used", "Of the pods that were ready for the whole phase, how many answered an RPC.", "no pod was ready for the whole phase",
			func(p *results.Phase) figure {
				ready := p.ReadyThroughout()
				if len(ready) == 0 {
					return figure{Text: none}
				}
				idle := 0
				for _, pod := range ready {
					if pod.RPCs == 0 {
						idle++
					}
				}
				return figure{Text: fmt.Sprintf("%d of %d", len(ready)-idle, len(ready))}
			},
		},
		{"RPCs", "RPCs meant to be sent in the phase.", "", func(p *results.Phase) figure { return counted(p.RPCs, false) }},
		{"failed", "RPCs whose final status was not OK.", "", func(p *results.Phase) figure { return counted(p.Failed, false) }},
		{
			"failed attempts", "Attempts that were not OK, saved by a retry or not.", "",
			func(p *results.Phase) figure { return counted(p.FailedAttempts, false) },
		},
		{
			"max/mean", "The busiest pod's share over the mean share.", "fewer than two pods were ready for the whole phase, or no RPC succeeded",
			func(p *results.Phase) figure { return measured(p.MaxOverMean, Number) },
		},
		{
			"Jain", "Jain's fairness index.", "fewer than two pods were ready for the whole phase, or no RPC succeeded",
			func(p *results.Phase) figure { return measured(p.Jain, index) },
		},
	}
	if keyed {
		list = append(list, keyColumns()...)
	}
	return append(list,
		latency("p50", func(l *results.Latency) *float64 { return l.P50 }),
		latency("p90", func(l *results.Latency) *float64 { return l.P90 }),
		latency("p99", func(l *results.Latency) *float64 { return l.P99 }),
		latency("max", func(l *results.Latency) *float64 { return l.Max }),
		phaseColumn{
			"recovery, s", "From the first pod being ready again to the first RPC that succeeded.", "the number of ready pods did not rise from zero, or no RPC succeeded after",
			func(p *results.Phase) figure { return measured(p.RecoverySeconds, Number) },
		},
		phaseColumn{
			"conns", "The largest number of connections open at once.", unmeasured,
			func(p *results.Phase) figure { return measured(p.Connections, Count) },
		},
		cost("DNS queries", "DNS queries that the client sent.", func(c *results.Cost) *int64 { return c.DNSQueries }),
		cost("API requests", "Requests to the Kubernetes API.", func(c *results.Cost) *int64 { return c.APIRequests }),
		cost("watch events", "Events that the Kubernetes API sent.", func(c *results.Cost) *int64 { return c.WatchEvents }),
		cost("watch bytes", "What these events took.", func(c *results.Cost) *int64 { return c.WatchBytes }),
	)
}

func keyColumns() []phaseColumn {
	share := func(title, about, missing string, of func(*results.Phase) *float64, text func(float64) string) phaseColumn {
		return phaseColumn{title, about, missing, func(p *results.Phase) figure { return measured(of(p), text) }}
	}
	const noMove = "the pods are those of the end of the phase before, or too few keys had a pod before and after"
	return []phaseColumn{
		share("affinity", "The share of RPCs that went to the same pod as the RPC with their key before.", "too few keys came again in the phase",
			func(p *results.Phase) *float64 { return p.Affinity }, affinity),
		share("keys moved", "The share of keys that another pod serves at the end of the phase than at the end of the phase before.", noMove,
			func(p *results.Phase) *float64 { return p.MovedKeys }, percent),
		share("had to move", "The share that had to move for the load to stay even.", noMove,
			func(p *results.Phase) *float64 { return p.MovedKeysIdeal }, percent),
	}
}
