// Package scorecard works out what a run measured, from what the client saw
// (frames) and what the cluster did (the lives of pods). It knows nothing of where
// the run took place. docs/measurements.md defines each figure.
package scorecard

import (
	"net"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// binSeconds is the step of the timeline: five frames of the client's.
const binSeconds = 0.5

// How a pod's life may end.
const (
	Drained = "drained"
	Killed  = "killed"
)

// Life is what the cluster knows of a pod. A time that has not come is nil.
type Life struct {
	Name string
	// Service is the service that the pod belongs to.
	Service string
	// Address is the pod's IP address.
	Address   string
	CreatedAt time.Time
	// ReadyAt is when an EndpointSlice first said that the pod was ready, UnreadyAt
	// when it last stopped saying so, EndedAt when the process was gone.
	ReadyAt, UnreadyAt, EndedAt *time.Time
	// EndReason is Drained or Killed; "" while the pod lives.
	EndReason string
}

// Usage is what a strategy has asked of the cluster since the run began; nil where
// the environment cannot see it.
type Usage = results.Cost

// Nothing is a usage of nothing, in the figures that u has.
func Nothing(u Usage) Usage {
	return Usage{
		DNSQueries:  less(u.DNSQueries, u.DNSQueries),
		APIRequests: less(u.APIRequests, u.APIRequests),
		WatchEvents: less(u.WatchEvents, u.WatchEvents),
		WatchBytes:  less(u.WatchBytes, u.WatchBytes),
	}
}

// Record is all that is known of one service of one overlay.
type Record struct {
	Overlay, Service      string
	Control               bool
	Target, ServiceConfig string
	// Keys are the keys that the RPCs carried; nil without.
	Keys *results.Keys
	// Phases are those of the scenario, with the times at which they took place.
	Phases []results.ScenarioPhase
	// Frames are what the client reported of the service, in order.
	Frames []loadreport.Frame
	// Lives are the service's pods.
	Lives []Life
	// Usage has the usage at the beginning of each phase, and at the end of the last.
	Usage []Usage
}

// Score works a run out.
func (r *Record) Score() results.Run {
	run := results.Run{
		Overlay: r.Overlay, Service: r.Service, Control: r.Control,
		Target: r.Target, ServiceConfig: r.ServiceConfig, Keys: r.Keys,
	}
	slices.SortStableFunc(r.Lives, func(a, b Life) int { return order(a).Compare(order(b)) })
	contacts := r.contacts()
	for i, phase := range r.Phases {
		run.Phases = append(run.Phases, r.phase(i, phase, contacts))
	}
	run.Timeline = r.timeline()

	return run
}

// order is when a pod takes its place among the others: when it was first ready.
func order(l Life) time.Time {
	if l.ReadyAt != nil {
		return *l.ReadyAt
	}

	return l.CreatedAt
}

// phaseOf returns the phase that a frame belongs to: the last that had begun when
// the frame ended; -1 before the first and after the last. A frame that
// straddles the beginning of a phase holds what the phase did to the RPCs in flight.
func (r *Record) phaseOf(f *loadreport.Frame) int {
	if len(r.Phases) == 0 || !f.Start.Before(end(r.Phases[len(r.Phases)-1])) {
		return -1
	}
	ended := f.Start.Add(seconds(f.Seconds))
	for i, phase := range slices.Backward(r.Phases) {
		if phase.StartedAt.Before(ended) {
			return i
		}
	}

	return -1
}

// podOf returns the index in Lives of the pod that an entry of a frame is about: by
// its name, or else by its address at that time; -1 if it cannot be told, as behind
// a virtual IP.
func (r *Record) podOf(p *loadreport.Pod) int {
	if p.Name != "" {
		return slices.IndexFunc(r.Lives, func(l Life) bool { return l.Name == p.Name })
	}
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		return -1
	}
	// Addresses are used again: it was the last pod that had this one by then.
	found := -1
	for i, l := range r.Lives {
		if l.Address == host && !l.CreatedAt.After(p.LastAttempt) &&
			(found < 0 || l.CreatedAt.After(r.Lives[found].CreatedAt)) {
			found = i
		}
	}

	return found
}

// contact is the first and the last attempt that a pod was sent in the whole run.
type contact struct{ first, last time.Time }

func (r *Record) contacts() []contact {
	contacts := make([]contact, len(r.Lives))
	for i := range r.Frames {
		for j := range r.Frames[i].Pods {
			p := &r.Frames[i].Pods[j]
			at := r.podOf(p)
			if at < 0 || p.Attempts == 0 {
				continue
			}
			c := &contacts[at]
			if c.first.IsZero() || p.FirstAttempt.Before(c.first) {
				c.first = p.FirstAttempt
			}
			if p.LastAttempt.After(c.last) {
				c.last = p.LastAttempt
			}
		}
	}

	return contacts
}

func (r *Record) phase(index int, in results.ScenarioPhase, contacts []contact) results.Phase {
	out := results.Phase{
		Name: in.Name, StartedAt: in.StartedAt, Seconds: in.Seconds,
		ErrorsByCode: map[string]int64{}, Cost: r.cost(index), Pods: []results.Pod{},
	}
	latency := newLatency()
	answered := make([]int64, len(r.Lives))
	for i := range r.Frames {
		f := &r.Frames[i]
		if r.phaseOf(f) != index {
			continue
		}
		out.RPCs += f.RPCs
		out.Failed += f.Failed
		out.FailedAttempts += f.FailedAttempts
		for code, n := range f.ErrorsByCode {
			out.ErrorsByCode[code] += n
		}
		if out.FirstError == "" {
			out.FirstError = f.FirstError
		}
		if out.Connections == nil || f.Connections > *out.Connections {
			out.Connections = &f.Connections
		}
		latency.add(f.LatencyMicros)
		for j := range f.Pods {
			if at := r.podOf(&f.Pods[j]); at >= 0 {
				answered[at] += f.Pods[j].RPCs
			}
		}
	}
	out.LatencyMs = latency.milliseconds()

	var steady []int64
	for i, l := range r.Lives {
		if !l.CreatedAt.Before(end(in)) || (l.EndedAt != nil && l.EndedAt.Before(in.StartedAt)) {
			continue
		}
		out.Pods = append(out.Pods, pod(l, answered[i], contacts[i], in))
		if readyThroughout(l, in) {
			steady = append(steady, answered[i])
		}
	}
	out.MaxOverMean, out.Jain = spread(steady)
	out.RecoverySeconds = r.recovery(in)
	out.Affinity = r.affinity(index)
	out.MovedKeys, out.MovedKeysIdeal = r.movedKeys(index)

	return out
}

func pod(l Life, answered int64, c contact, in results.ScenarioPhase) results.Pod {
	p := results.Pod{Name: l.Name, RPCs: answered, ReadyAt: l.ReadyAt, UnreadyAt: l.UnreadyAt}
	if within(l.ReadyAt, in) && !c.first.IsZero() {
		// An attempt may come before the slice is out, where the address is known by
		// other means: that is no time at all.
		p.FirstRPCSeconds = new(max(0, c.first.Sub(*l.ReadyAt).Seconds()))
	}
	if within(l.UnreadyAt, in) {
		p.OffSeconds = new(0.0)
		if c.last.After(*l.UnreadyAt) {
			p.OffSeconds = new(c.last.Sub(*l.UnreadyAt).Seconds())
		}
	}

	return p
}

// recovery is the time from the first ready pod to the first RPC that succeeded,
// if the phase began without a ready pod and got one.
func (r *Record) recovery(in results.ScenarioPhase) *float64 {
	var first *time.Time
	for _, l := range r.Lives {
		if l.ReadyAt == nil {
			continue
		}
		if l.ReadyAt.Before(in.StartedAt) && (l.UnreadyAt == nil || l.UnreadyAt.After(in.StartedAt)) {
			return nil // there was one from the start
		}
		if within(l.ReadyAt, in) && (first == nil || l.ReadyAt.Before(*first)) {
			first = l.ReadyAt
		}
	}
	if first == nil {
		return nil
	}
	for i := range r.Frames {
		for j := range r.Frames[i].Pods {
			p := &r.Frames[i].Pods[j]
			if p.RPCs > 0 && !p.LastAttempt.Before(*first) {
				return new(max(0, p.FirstAttempt.Sub(*first).Seconds()))
			}
		}
	}

	return nil
}

// cost is the usage in a phase: at its end less at its beginning.
func (r *Record) cost(index int) results.Cost {
	if index+1 >= len(r.Usage) {
		return results.Cost{}
	}
	before, after := r.Usage[index], r.Usage[index+1]

	return results.Cost{
		DNSQueries:  less(after.DNSQueries, before.DNSQueries),
		APIRequests: less(after.APIRequests, before.APIRequests),
		WatchEvents: less(after.WatchEvents, before.WatchEvents),
		WatchBytes:  less(after.WatchBytes, before.WatchBytes),
	}
}

func less(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}

	return new(*a - *b)
}

func readyThroughout(l Life, in results.ScenarioPhase) bool {
	return l.ReadyAt != nil && !l.ReadyAt.After(in.StartedAt) &&
		(l.UnreadyAt == nil || !l.UnreadyAt.Before(end(in)))
}

func within(t *time.Time, in results.ScenarioPhase) bool {
	return t != nil && !t.Before(in.StartedAt) && t.Before(end(in))
}

func end(in results.ScenarioPhase) time.Time { return in.StartedAt.Add(seconds(in.Seconds)) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
