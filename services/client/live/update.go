package live

import (
	"cmp"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/load"
)

// Update is what a page has not been told yet. Lanes and figures are those of now, columns and
// events those that are new or have changed; all of them replace what the page has of the same number.
type Update struct {
	// Now is the time here, in milliseconds since 1970.
	Now int64 `json:"now"`
	// Reset says that nothing holds that the page has.
	Reset    bool            `json:"reset,omitempty"`
	Services []ServiceUpdate `json:"services"`
}

// ServiceUpdate is the part of one service.
type ServiceUpdate struct {
	Service       string `json:"service"`
	Target        string `json:"target"`
	ServiceConfig string `json:"serviceConfig"`
	// Finding says in a sentence what happens, and Kind changes when that is another thing.
	Finding string `json:"finding"`
	Kind    string `json:"kind"`
	// State is the channel's, from channelz.
	State string `json:"state"`
	// Complete is the second, since 1970, before which all is known.
	Complete int64    `json:"complete"`
	Load     Load     `json:"load"`
	Figures  Figures  `json:"figures"`
	Lanes    []Lane   `json:"lanes"`
	Columns  []Column `json:"columns"`
	Events   []Event  `json:"events"`
}

// Load is the load in force.
type Load struct {
	Rate        float64 `json:"rate"`
	Concurrency int     `json:"concurrency"`
	Keys        string  `json:"keys"`
	// Payload is how many values an RPC asks for; absent where that cannot be set.
	Payload int  `json:"payload,omitempty"`
	ByHand  bool `json:"byHand,omitempty"`
}

// Figures are the service's. RPS and latencies are those of the last seconds; latencies are in
// milliseconds, null when no RPC has succeeded. The counts are since the client began.
type Figures struct {
	RPS            float64  `json:"rps"`
	RPCs           int64    `json:"rpcs"`
	Failed         int64    `json:"failed"`
	FailedAttempts int64    `json:"failedAttempts"`
	Connections    int64    `json:"connections"`
	P50            *float64 `json:"p50"`
	P99            *float64 `json:"p99"`
}

// Lane is a pod, or an endpoint that has not answered.
type Lane struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	// Known says that name resolution has it, and Spans when it had.
	Known bool   `json:"known"`
	Spans []Span `json:"spans,omitempty"`
	// Shared says that several pods answered behind this address.
	Shared bool `json:"shared,omitempty"`
	// State is that of the subchannel to the address; "" without one.
	State string `json:"state,omitempty"`
	// RPS and Share are of the last seconds; Failed counts failed attempts in all that is shown.
	RPS    float64 `json:"rps"`
	Share  float64 `json:"share"`
	Failed int64   `json:"failed"`
}

// Column is a second, since 1970. Cells has for each lane three numbers: its id, the RPCs that it
// answered and the attempts that failed there.
type Column struct {
	Second int64   `json:"s"`
	RPCs   int64   `json:"rpcs"`
	Failed int64   `json:"failed,omitempty"`
	Cells  []int64 `json:"cells,omitempty"`
}

// since is what a page that has a version has not, and the version that it then has.
func (h *Hub) since(version int64) (Update, int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := Update{Now: time.Now().UnixMilli(), Reset: version == 0, Services: []ServiceUpdate{}}
	for _, w := range h.watched {
		if w.service.Generator != nil {
			u.Services = append(u.Services, w.since(version))
		}
	}

	return u, h.version
}

func (w *Watched) since(version int64) ServiceUpdate {
	s := &w.service
	u := ServiceUpdate{
		Service: s.Name, Target: s.Target, ServiceConfig: s.ServiceConfig, Complete: w.complete,
		Load: loadOf(s.Generator), Lanes: []Lane{}, Columns: []Column{}, Events: []Event{},
	}
	channel, subchannels := w.hub.channelz.states(s.Target)
	u.State = channel
	now := w.window()
	u.Figures = figures(s.Generator.Recorder.Totals(), now)
	pods := map[string]int{}
	failed := map[int]int64{}
	for _, l := range w.lanes {
		pods[l.address]++
	}
	for _, c := range w.columns {
		if c.version > version {
			u.Columns = append(u.Columns, c.column())
		}
		for id, of := range c.cells {
			failed[id] += of.failed
		}
	}
	for _, l := range w.lanes {
		known := w.isKnown(l)
		lane := Lane{
			ID: l.id, Name: l.name, Address: l.address, Known: known, Spans: slices.Clone(l.spans), Shared: pods[l.address] > 1,
			RPS: now.rps(now.lanes[l.id]), Share: now.share(l.id), Failed: failed[l.id],
		}
		if w.byAddress[l.address] == l {
			lane.State = subchannels[l.address]
		}
		u.Lanes = append(u.Lanes, lane)
	}
	for _, e := range w.events {
		if e.version > version {
			u.Events = append(u.Events, *e)
		}
	}
	u.Kind, u.Finding = w.finding(now)

	return u
}

func (c *column) column() Column {
	of := Column{Second: c.second, RPCs: c.rpcs, Failed: c.failed}
	for id, cell := range c.cells {
		of.Cells = append(of.Cells, int64(id), cell.rpcs, cell.failed)
	}

	return of
}

func loadOf(g *load.Generator) Load {
	plan := g.Plan()
	distribution := cmp.Or(plan.Keys.Settings(), &loadreport.Keys{Distribution: "none"}).Distribution

	return Load{Rate: plan.Rate, Concurrency: plan.Concurrency, Keys: distribution, Payload: plan.Payload, ByHand: g.Changed()}
}

func figures(t load.Totals, now window) Figures {
	return Figures{
		RPS: now.rps(now.rpcs), RPCs: t.RPCs, Failed: t.Failed, FailedAttempts: t.FailedAttempts, Connections: t.Connections,
		P50: now.latency(0.5), P99: now.latency(0.99),
	}
}
