// Package scenario reads scenarios: scripts of faults, in YAML, that the lab runs
// over every overlay at once.
//
// A scenario is a list of phases. Each has a name, lasts a while, and may do
// things to the service at its beginning; a fault that has an end (a frozen pod, an
// API server that is down) ends with its phase. A phase that does nothing only
// watches.
package scenario

import (
	"fmt"
	"strings"
	"time"
)

// Bounds that a scenario must keep to, so that a slip of a finger does not start ten
// thousand processes.
const (
	MaxReplicas = 50
	MaxPhases   = 100
	MaxRate     = 100_000
	MinFor      = time.Second
	MaxFor      = time.Hour
)

// Services that a scenario may name.
var Services = []string{"rng", "geoip"}

// Scenario is a script of faults.
type Scenario struct {
	Name        string
	Description string
	// Service is the service that the phases act on.
	Service string
	// Replicas is how many pods of it there are before the first phase.
	Replicas int
	// Load is the arrival rate of RPCs for each service, in RPCs a second.
	Load map[string]float64
	// Phases are run in order.
	Phases []Phase
}

// Phase is one step of a scenario.
type Phase struct {
	Name string
	// For is how long the phase lasts.
	For time.Duration
	// Scale, if not nil, is the new number of replicas.
	Scale *int
	// Rollout replaces every pod, as a new image would.
	Rollout bool
	// Kill is how many ready pods are sent SIGKILL without notice.
	Kill int
	// Freeze is how many ready pods are stopped (SIGSTOP) until the phase ends.
	Freeze int
	// APIServerDown and DNSDown last until the phase ends.
	APIServerDown bool
	DNSDown       bool
	// Graceful says that nothing in the phase excuses a failed RPC: pods come and go
	// in order only, and there is always one.
	Graceful bool
}

// Action says what the phase does, for people; "" if it only watches.
func (p Phase) Action() string {
	var actions []string
	add := func(format string, args ...any) { actions = append(actions, fmt.Sprintf(format, args...)) }
	if p.Scale != nil {
		add("scale to %d", *p.Scale)
	}
	if p.Rollout {
		add("roll out")
	}
	if p.Kill > 0 {
		add("SIGKILL %d %s", p.Kill, pods(p.Kill))
	}
	if p.Freeze > 0 {
		add("freeze %d %s", p.Freeze, pods(p.Freeze))
	}
	if p.APIServerDown {
		add("API server down")
	}
	if p.DNSDown {
		add("DNS down")
	}

	return strings.Join(actions, ", ")
}

// Length is how long all phases take together.
func (s *Scenario) Length() time.Duration {
	var sum time.Duration
	for _, p := range s.Phases {
		sum += p.For
	}

	return sum
}

// markGraceful fills in Graceful, which follows from what the phases do.
func (s *Scenario) markGraceful() {
	replicas := s.Replicas
	for i := range s.Phases {
		p := &s.Phases[i]
		before := replicas
		if p.Scale != nil {
			replicas = *p.Scale
		}
		p.Graceful = before > 0 && replicas > 0 &&
			p.Kill == 0 && p.Freeze == 0 && !p.APIServerDown && !p.DNSDown
	}
}

func pods(n int) string {
	if n == 1 {
		return "pod"
	}

	return "pods"
}
