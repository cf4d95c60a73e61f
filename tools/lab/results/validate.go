package results

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// What a record may hold. The bounds are far above any experiment; they keep a
// damaged file from exhausting whoever reads it, and sums from overflowing.
const (
	maxRuns    = 200
	maxPhases  = 500
	maxPods    = 5_000
	maxBins    = 100_000
	maxName    = 253 // the longest name that Kubernetes allows
	maxCount   = 1 << 40
	maxSeconds = 366 * 24 * 3600
	maxSkew    = 1000
	minBin     = 0.001
	// slack is the most of a quotient of sums that is 1 at most: rounding may take it a
	// hair above.
	slack = 1.000001
)

// Validate says what is wrong with the first field that contradicts this
// package's documentation: its path, its value and what is accepted.
func (r *Results) Validate() error {
	c := check{}
	c.that(r.SchemaVersion == SchemaVersion, "schemaVersion", r.SchemaVersion, fmt.Sprint(SchemaVersion))
	c.time("startedAt", r.StartedAt)
	c.that(r.Environment.CPUs >= 0, "environment.cpus", r.Environment.CPUs, "0 or more")
	c.within("environment.busyFraction", r.Environment.BusyFraction, 0, 1)
	c.within("environment.stealFraction", r.Environment.StealFraction, 0, 1)
	c.scenario(&r.Scenario)
	c.length("runs", len(r.Runs), maxRuns)
	seen := map[[2]string]int{}
	for i := range r.Runs {
		run, path := &r.Runs[i], fmt.Sprintf("runs[%d]", i)
		id := [2]string{run.Overlay, run.Service}
		if first, twice := seen[id]; twice {
			c.fail("%s: overlay %q and service %q are those of runs[%d] already", path, run.Overlay, run.Service, first)
		}
		seen[id] = i
		c.run(path, run, &r.Scenario)
		if c.err != nil {
			break
		}
	}
	return c.err
}

func (c *check) scenario(s *Scenario) {
	c.name("scenario.name", s.Name)
	c.name("scenario.service", s.Service)
	for _, service := range slices.Sorted(maps.Keys(s.Load)) {
		rate := s.Load[service]
		c.within(fmt.Sprintf("scenario.load[%q]", service), &rate, 0, maxCount)
	}
	c.length("scenario.phases", len(s.Phases), maxPhases)
	for i, p := range s.Phases {
		path := fmt.Sprintf("scenario.phases[%d]", i)
		c.name(path+".name", p.Name)
		c.time(path+".startedAt", p.StartedAt)
		c.within(path+".seconds", &p.Seconds, 0, maxSeconds)
		if i > 0 && p.StartedAt.Before(s.Phases[i-1].StartedAt) {
			c.fail("%s.startedAt: %s, want no earlier than the phase before it", path, p.StartedAt.Format(time.RFC3339Nano))
		}
	}
}

func (c *check) run(path string, r *Run, s *Scenario) {
	c.name(path+".overlay", r.Overlay)
	c.name(path+".service", r.Service)
	if len(r.Phases) != len(s.Phases) {
		c.fail("%s.phases: %d of them, want the scenario's %d", path, len(r.Phases), len(s.Phases))
		return
	}
	if k := r.Keys; k != nil {
		if k.Distribution != "uniform" && k.Distribution != "zipf" {
			c.fail("%s.keys.distribution: %q, want \"uniform\" or \"zipf\"", path, k.Distribution)
		}
		c.that(k.Count >= 1 && k.Count <= maxCount, path+".keys.count", k.Count, fmt.Sprintf("1 to %d", maxCount))
		c.within(path+".keys.skew", &k.Skew, 0, maxSkew)
		c.name(path+".keys.header", k.Header)
	}
	for i := range r.Phases {
		p, at := &r.Phases[i], fmt.Sprintf("%s.phases[%d]", path, i)
		if p.Name != s.Phases[i].Name {
			c.fail("%s.name: %q, want the scenario's %q", at, p.Name, s.Phases[i].Name)
		}
		c.phase(at, p)
	}
	c.timeline(path+".timeline", &r.Timeline)
}

func (c *check) phase(path string, p *Phase) {
	c.time(path+".startedAt", p.StartedAt)
	c.within(path+".seconds", &p.Seconds, 0, maxSeconds)
	c.count(path+".rpcs", &p.RPCs)
	c.count(path+".failed", &p.Failed)
	c.that(p.Failed <= p.RPCs, path+".failed", p.Failed, fmt.Sprintf("at most the phase's %d rpcs", p.RPCs))
	c.count(path+".failedAttempts", &p.FailedAttempts)
	for _, code := range slices.Sorted(maps.Keys(p.ErrorsByCode)) {
		n := p.ErrorsByCode[code]
		c.count(fmt.Sprintf("%s.errorsByCode[%q]", path, code), &n)
	}
	c.within(path+".maxOverMean", p.MaxOverMean, 0, maxPods)
	c.within(path+".jain", p.Jain, 0, slack)
	c.within(path+".affinity", p.Affinity, 0, slack)
	c.within(path+".movedKeys", p.MovedKeys, 0, 1)
	c.within(path+".movedKeysIdeal", p.MovedKeysIdeal, 0, 1)
	latencies := []struct {
		name string
		ms   *float64
	}{{"p50", p.LatencyMs.P50}, {"p90", p.LatencyMs.P90}, {"p99", p.LatencyMs.P99}, {"max", p.LatencyMs.Max}}
	for _, l := range latencies {
		c.within(path+".latencyMs."+l.name, l.ms, 0, 1000*maxSeconds)
	}
	c.count(path+".connections", p.Connections)
	c.within(path+".recoverySeconds", p.RecoverySeconds, 0, maxSeconds)
	c.count(path+".cost.dnsQueries", p.Cost.DNSQueries)
	c.count(path+".cost.apiRequests", p.Cost.APIRequests)
	c.count(path+".cost.watchEvents", p.Cost.WatchEvents)
	c.count(path+".cost.watchBytes", p.Cost.WatchBytes)
	c.length(path+".pods", len(p.Pods), maxPods)
	seen := map[string]bool{}
	for i, pod := range p.Pods {
		at := fmt.Sprintf("%s.pods[%d]", path, i)
		c.name(at+".name", pod.Name)
		if seen[pod.Name] {
			c.fail("%s.name: %q is in the phase already", at, pod.Name)
		}
		seen[pod.Name] = true
		c.count(at+".rpcs", &pod.RPCs)
		c.order(at, pod.ReadyAt, pod.UnreadyAt)
		// Below zero is a finding, not a mistake: attempts to a pod that was not
		// ready yet.
		c.within(at+".firstRpcSeconds", pod.FirstRPCSeconds, -maxSeconds, maxSeconds)
		c.within(at+".offSeconds", pod.OffSeconds, 0, maxSeconds)
	}
}

func (c *check) timeline(path string, t *Timeline) {
	c.length(path+".rpcs", len(t.RPCs), maxBins)
	c.length(path+".pods", len(t.Pods), maxPods)
	if len(t.RPCs) > 0 || len(t.Pods) > 0 {
		c.time(path+".startedAt", t.StartedAt)
		c.within(path+".binSeconds", &t.BinSeconds, minBin, maxSeconds)
	}
	c.counts(path+".rpcs", t.RPCs, len(t.RPCs))
	c.counts(path+".failed", t.Failed, len(t.RPCs))
	for i := range t.Pods {
		pod, at := &t.Pods[i], fmt.Sprintf("%s.pods[%d]", path, i)
		c.name(at+".name", pod.Name)
		c.counts(at+".rpcs", pod.RPCs, len(t.RPCs))
		switch pod.EndReason {
		case "", "drained", "killed":
		default:
			c.fail("%s.endReason: %q, want \"drained\", \"killed\" or none", at, pod.EndReason)
		}
		c.order(at, pod.ReadyAt, pod.UnreadyAt)
	}
}

// check keeps the first thing that is wrong.
type check struct{ err error }

func (c *check) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("results: "+format, args...)
	}
}

func (c *check) that(ok bool, path string, value any, want string) {
	if !ok {
		c.fail("%s: %v, want %s", path, value, want)
	}
}

func (c *check) name(path, name string) {
	if name == "" {
		c.fail("%s: missing", path)
	}
	c.that(len(name) <= maxName, path, fmt.Sprintf("%d characters", len(name)), fmt.Sprintf("at most %d", maxName))
}

func (c *check) time(path string, t time.Time) {
	if t.IsZero() {
		c.fail("%s: missing", path)
	}
	// encoding/json refuses to write any other year.
	c.that(t.Year() >= 0 && t.Year() <= 9999, path, t, "a year from 0 to 9999")
}

func (c *check) order(path string, ready, unready *time.Time) {
	if ready != nil && unready != nil && unready.Before(*ready) {
		c.fail("%s.unreadyAt: %s, want no earlier than its readyAt", path, unready.Format(time.RFC3339Nano))
	}
}

func (c *check) within(path string, f *float64, low, high float64) {
	if f != nil && (math.IsNaN(*f) || *f < low || *f > high) {
		c.fail("%s: %v, want %v to %v", path, *f, low, high)
	}
}

func (c *check) count(path string, n *int64) {
	if n != nil && (*n < 0 || *n > maxCount) {
		c.fail("%s: %d, want 0 to %d", path, *n, int64(maxCount))
	}
}

func (c *check) counts(path string, counts []int64, bins int) {
	if len(counts) != bins {
		c.fail("%s: %d bins, want the %d of the timeline's rpcs", path, len(counts), bins)
	}
	for i, n := range counts {
		if n < 0 || n > maxCount {
			c.count(fmt.Sprintf("%s[%d]", path, i), &n)
			return
		}
	}
}

func (c *check) length(path string, n, most int) {
	c.that(n <= most, path, fmt.Sprintf("%d of them", n), fmt.Sprintf("at most %d", most))
}
