package load

import (
	"slices"
	"sync"
	"time"
)

// Exemplar is an RPC that succeeded and whose trace is recorded.
type Exemplar struct {
	TraceID string
	// Latency is from the intended send time, At when it ended.
	Latency time.Duration
	At      time.Time
}

// maxExemplars are enough for some of the rare slow ones to be among them.
const maxExemplars = 64

// exemplars are the latest.
type exemplars struct {
	mu     sync.Mutex
	latest []Exemplar // oldest first
}

func (e *exemplars) add(x Exemplar) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.latest) == maxExemplars {
		e.latest = slices.Delete(e.latest, 0, 1)
	}
	e.latest = append(e.latest, x)
}

// Exemplars are the latest RPCs that succeeded and whose traces are recorded, the oldest first.
func (r *Recorder) Exemplars() []Exemplar {
	r.exemplars.mu.Lock()
	defer r.exemplars.mu.Unlock()

	return slices.Clone(r.exemplars.latest)
}
