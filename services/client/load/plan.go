package load

import (
	"context"
	"fmt"
	"math"

	"github.com/evenkeel/evenkeel/services/client/keys"
)

// Bounds of a Plan.
const (
	// MaxRate is more than one machine generates, in RPCs a second.
	MaxRate = 100_000
	// MinRate is above 0: an RPC in a year is a mistake in the unit.
	MinRate = 0.001
	// MaxConcurrency is as many workers as are of any use.
	MaxConcurrency = 10_000
	// MaxPayload is how many values rng draws for one RPC.
	MaxPayload = 1000
)

// Plan is what a Generator sends. It can be changed while the generator runs.
type Plan struct {
	// Rate is how many RPCs are begun in a second; 0 makes a closed loop.
	Rate float64
	// Concurrency is the number of workers of a closed loop.
	Concurrency int
	// Keys are the keys that RPCs carry; nil means none.
	Keys *keys.Set
	// Payload is how many values an RPC asks for; 0 where that is not ours to say.
	Payload int
}

// CheckRate is an error for a rate that no Plan may have. It does not name what it is the rate of.
func CheckRate(rate float64) error {
	if rate == 0 || (rate >= MinRate && rate <= MaxRate) {
		return nil
	}

	return fmt.Errorf("%.10g is out of range: give 0 or %v to %v", rate, MinRate, MaxRate)
}

// Plan is the plan in force.
func (g *Generator) Plan() Plan {
	g.mu.Lock()
	defer g.mu.Unlock()

	return g.planned()
}

func (g *Generator) planned() Plan {
	if g.changed != nil {
		return *g.changed
	}

	return Plan{Rate: g.Rate, Concurrency: g.Concurrency, Keys: g.Keys, Payload: g.Payload}
}

// Changed says whether the plan is not the one that the generator began with, or was not at some time.
func (g *Generator) Changed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()

	return g.changed != nil
}

// Change puts another plan, which must be within the bounds, in force at once: RPCs that are in flight
// end as they would have, and a new grid begins.
func (g *Generator) Change(p Plan) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed = &p
	if g.SetPayload != nil {
		g.SetPayload(p.Payload)
	}
	if g.endPhase != nil {
		g.endPhase()
	}
}

// phase is the plan in force, and a context that ends with it.
func (g *Generator) phase(ctx context.Context) (Plan, context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	phase, end := context.WithCancel(ctx)
	g.endPhase = end

	return g.planned(), phase
}

// stillOwed says of an RPC of the open loop that was due in a phase that has ended whether it is sent
// yet. A generator that is far behind its grid would otherwise heed a lower rate only when it has caught up.
func stillOwed(due, ended int64) bool { return ended == math.MaxInt64 || ended-due < maxOwed }

// maxOwed is how far behind, in nanoseconds.
const maxOwed = int64(1e9)
