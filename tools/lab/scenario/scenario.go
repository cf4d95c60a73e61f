// Package scenario reads scenarios: scripts of faults, in YAML, that the lab runs
// over every overlay at once.
//
// A scenario is a list of phases. Each has a name, lasts a while, and may do
// things to the service at its beginning; a fault that has an end (a frozen pod, an
// API server that is down) ends with its phase. A phase that does nothing only
// watches. Not every environment can do every step: it says so before a run starts.
package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds that a scenario must keep to, so that a slip of a finger does not start ten
// thousand processes.
const (
	MaxReplicas = 100
	MaxNodes    = 1000
	MaxPhases   = 100
	MaxKeys     = 100_000
	MinSkew     = 1.01
	MaxSkew     = 10.0
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
	// Keys, if not nil, are what the RPCs carry, whatever the overlay says.
	Keys *Keys
	// Phases are run in order.
	Phases []Phase
}

// Keys are such as the user that each RPC is for.
type Keys struct {
	// Count is how many there are.
	Count int
	// Skew is the exponent of Zipf's law; 0 for keys that are all equally frequent.
	Skew float64
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
	// Delete is how many ready pods are asked to leave.
	Delete int
	// Kill is how many ready pods are sent SIGKILL without notice.
	Kill int
	// Freeze is how many ready pods are stopped (SIGSTOP) until the phase ends.
	Freeze int

	// What is done to a node is done to the node of that number: 1 is the first, by name, of those that
	// take pods. 0 is none. All of it is over when the phase ends.

	// DrainNode has the service's pods leave a node, which takes no others.
	DrainNode int
	// Cordon has a node take no more pods.
	Cordon int
	// FreezeNode has all that runs on a node stand still, and PartitionNode has nothing get to it or from it.
	FreezeNode    int
	PartitionNode int
	// Loss and Delay are what packets to and from a node suffer; nil for nothing.
	Loss  *Loss
	Delay *Delay

	// APIServerDown and DNSDown last until the phase ends.
	APIServerDown bool
	DNSDown       bool
	// Graceful says that nothing in the phase excuses a failed RPC: pods come and go
	// in order only, and there is always one.
	Graceful bool
}

// Loss is that some packets to and from a node are lost.
type Loss struct{ Node, Percent int }

// Delay is that packets to and from a node take longer, by so much in each direction.
type Delay struct {
	Node int
	By   time.Duration
}

// step is a thing that a phase may do: its name in YAML, whether a phase does it, and what that is called.
type step struct {
	name string
	does func(*Phase) bool
	text func(*Phase) string
}

// steps are all there are, in the order in which a phase does them: faults are there before what they are to disturb.
var steps = []step{
	{"api-server", func(p *Phase) bool { return p.APIServerDown }, func(*Phase) string { return "API server down" }},
	{"dns", func(p *Phase) bool { return p.DNSDown }, func(*Phase) string { return "DNS down" }},
	{"loss", func(p *Phase) bool { return p.Loss != nil }, func(p *Phase) string {
		return fmt.Sprintf("lose %d %% of node %d's packets", p.Loss.Percent, p.Loss.Node)
	}},
	{"delay", func(p *Phase) bool { return p.Delay != nil }, func(p *Phase) string {
		return fmt.Sprintf("delay node %d's packets by %v", p.Delay.Node, p.Delay.By)
	}},
	{"partition-node", func(p *Phase) bool { return p.PartitionNode > 0 }, func(p *Phase) string {
		return fmt.Sprintf("partition node %d", p.PartitionNode)
	}},
	{"freeze-node", func(p *Phase) bool { return p.FreezeNode > 0 }, func(p *Phase) string {
		return fmt.Sprintf("freeze node %d", p.FreezeNode)
	}},
	{"freeze", func(p *Phase) bool { return p.Freeze > 0 }, func(p *Phase) string { return "freeze " + pods(p.Freeze) }},
	{"kill", func(p *Phase) bool { return p.Kill > 0 }, func(p *Phase) string { return "SIGKILL " + pods(p.Kill) }},
	{"delete", func(p *Phase) bool { return p.Delete > 0 }, func(p *Phase) string { return "delete " + pods(p.Delete) }},
	{"scale", func(p *Phase) bool { return p.Scale != nil }, func(p *Phase) string { return fmt.Sprintf("scale to %d", *p.Scale) }},
	{"rollout", func(p *Phase) bool { return p.Rollout }, func(*Phase) string { return "roll out" }},
	{"cordon", func(p *Phase) bool { return p.Cordon > 0 }, func(p *Phase) string { return fmt.Sprintf("cordon node %d", p.Cordon) }},
	{"drain-node", func(p *Phase) bool { return p.DrainNode > 0 }, func(p *Phase) string {
		return fmt.Sprintf("drain node %d", p.DrainNode)
	}},
}

// Action says what the phase does, for people; "" if it only watches.
func (p Phase) Action() string {
	var actions []string
	for _, s := range steps {
		if s.does(&p) {
			actions = append(actions, s.text(&p))
		}
	}

	return strings.Join(actions, ", ")
}

// Nodes are the numbers of the nodes that the phase does something to.
func (p Phase) Nodes() []int {
	numbers := []int{p.DrainNode, p.Cordon, p.FreezeNode, p.PartitionNode}
	if p.Loss != nil {
		numbers = append(numbers, p.Loss.Node)
	}
	if p.Delay != nil {
		numbers = append(numbers, p.Delay.Node)
	}

	return slices.DeleteFunc(numbers, func(n int) bool { return n == 0 })
}

// Disturbed are the numbers of the nodes on which nothing can be measured during the phase.
func (p Phase) Disturbed() []int {
	p.DrainNode, p.Cordon = 0, 0 // whoever is there stays

	return p.Nodes()
}

// Refuse is an error that names the first phase with a step that an environment cannot do. Cannot has the reason for
// each of those by the step's name, such as "drain-node".
func (s *Scenario) Refuse(environment string, cannot map[string]string) error {
	for i := range s.Phases {
		if err := s.Phases[i].Refuse(environment, cannot); err != nil {
			return fmt.Errorf("scenario %s: phase %q: %w", s.Name, s.Phases[i].Name, err)
		}
	}

	return nil
}

// Refuse is an error that names the first step of the phase that an environment cannot do.
func (p Phase) Refuse(environment string, cannot map[string]string) error {
	for _, step := range steps {
		if why, refused := cannot[step.name]; refused && step.does(&p) {
			return fmt.Errorf("%s: the %s environment cannot do that: %s", step.name, environment, why)
		}
	}

	return nil
}

// Length is how long all phases take together.
func (s *Scenario) Length() time.Duration {
	var sum time.Duration
	for _, p := range s.Phases {
		sum += p.For
	}

	return sum
}

// ClientEnv are the environment variables that make a client send what the scenario says.
func (s *Scenario) ClientEnv() map[string]string {
	env := map[string]string{}
	for service, rate := range s.Load {
		env[strings.ToUpper(service)+"_RATE"] = strconv.FormatFloat(rate, 'g', -1, 64)
	}
	if s.Keys != nil {
		env["KEYS"], env["KEY_COUNT"] = "uniform", strconv.Itoa(s.Keys.Count)
		if s.Keys.Skew > 0 {
			env["KEYS"], env["KEY_SKEW"] = "zipf", strconv.FormatFloat(s.Keys.Skew, 'g', -1, 64)
		}
	}

	return env
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
		p.Graceful = before > p.Delete && replicas > p.Delete && !slices.ContainsFunc(steps, func(s step) bool {
			return s.does(p) && !slices.Contains(orderly, s.name)
		})
	}
}

// orderly are the steps in which pods come and go in order.
var orderly = []string{"scale", "rollout", "delete", "cordon", "drain-node"}

func pods(n int) string {
	if n == 1 {
		return "1 pod"
	}

	return fmt.Sprintf("%d pods", n)
}
