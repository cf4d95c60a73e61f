package up

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// overlay is one that runs, and what steps have made of it.
type overlay struct {
	Overlay
	strategy

	// The board's lock is for these.

	replicas int
	dnsUp    func() error // ends that its DNS is down; nil while it answers
	frozen   []frozen
	updating time.Time // when the last rolling update began; zero when it is over
}

// frozen are pods that stand still.
type frozen struct {
	pods  int
	until time.Time
}

// state is what the page shows beside the live pages.
type state struct {
	Overlays      []overlayState `json:"overlays"`
	APIServerDown bool           `json:"apiServerDown"`
	// Steps are those that were done, the last one first.
	Steps []Entry `json:"steps"`
}

type overlayState struct {
	Name string `json:"name"`
	// Replicas is how many pods of Service there should be, Ready how many are ready. Starting are those that never
	// were; Leaving those that were and are not any more.
	Replicas int  `json:"replicas"`
	Ready    int  `json:"ready"`
	Starting int  `json:"starting"`
	Leaving  int  `json:"leaving"`
	DNSDown  bool `json:"dnsDown"`
	// Updating is whether a rolling update goes on, Updated how many of its pods are ready.
	Updating bool `json:"updating"`
	Updated  int  `json:"updated"`
	// Faults says which others are in force, for people.
	Faults []string `json:"faults"`
}

func (b *Board) serveState(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(b.state(time.Now())) // a reader that has gone away is no news
}

func (b *Board) state(now time.Time) state {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := state{APIServerDown: b.apiUp != nil, Steps: slices.Clone(b.history)}
	slices.Reverse(s.Steps)
	for _, o := range b.overlays {
		s.Overlays = append(s.Overlays, o.state(b.env.Lives(o.Overlay.Overlay), now))
	}

	return s
}

// state counts pods by what the environment has recorded of their lives.
func (o *overlay) state(lives []scorecard.Life, now time.Time) overlayState {
	s := overlayState{Name: o.Name, Replicas: o.replicas, DNSDown: o.dnsUp != nil, Faults: []string{}}
	old := 0
	for _, l := range lives {
		if l.Service != Service || l.EndedAt != nil {
			continue
		}
		ready := l.ReadyAt != nil && l.UnreadyAt == nil
		switch {
		case ready:
			s.Ready++
		case l.ReadyAt == nil:
			s.Starting++
		default:
			s.Leaving++
		}
		switch {
		case l.CreatedAt.Before(o.updating):
			old++
		case ready:
			s.Updated++
		}
	}
	if !o.updating.IsZero() && old == 0 {
		o.updating = time.Time{}
	}
	s.Updating = !o.updating.IsZero()
	o.frozen = slices.DeleteFunc(o.frozen, func(f frozen) bool { return !f.until.After(now) })
	for _, f := range o.frozen {
		s.Faults = append(s.Faults, fmt.Sprintf("%d frozen for %d s more", f.pods, int(f.until.Sub(now).Seconds())+1))
	}

	return s
}

// note takes down what a phase that began at a time has made of the overlay.
func (o *overlay) note(p scenario.Phase, began time.Time) {
	if p.Scale != nil {
		o.replicas = *p.Scale
	}
	if p.Rollout {
		o.updating = began
	}
	if p.Freeze > 0 {
		o.frozen = append(o.frozen, frozen{p.Freeze, began.Add(p.For)})
	}
}

// room is an error if a step might ask for more pods than there can be, which the environment does not survive. A
// rolling update may make as many new ones as there are, before the old ones have ended.
func (o *overlay) room(lives []scorecard.Life, step *scenario.Step, most int) error {
	wanted := o.replicas
	if step.Phase.Scale != nil {
		wanted = *step.Phase.Scale
	}
	more := 0
	switch p := step.Phase; {
	case p.Rollout:
		more = wanted
	case p.Scale != nil:
		more = max(0, wanted-o.replicas)
	}
	more += step.Phase.Kill + step.Phase.Delete
	alive := 0
	for _, l := range lives {
		if l.EndedAt == nil {
			alive++
		}
	}
	if more > 0 && alive+more > most {
		return fmt.Errorf("%d pods live or are ending, and this might take %d more: there can be %d at once", alive, more, most)
	}

	return nil
}
