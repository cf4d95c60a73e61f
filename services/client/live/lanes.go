package live

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/status"
)

// Watched is what the hub knows of one service.
type Watched struct {
	hub          *Hub
	name, target string
	service      status.Service

	lanes     []*lane // in the order in which they were first heard of
	byPod     map[podKey]*lane
	byAddress map[string]*lane // the latest of each address
	nextLane  int
	known     map[string]string // each address that name resolution has: its endpoint's first one
	resolved  bool              // it has answered
	columns   []*column         // by second
	complete  int64             // the seconds before this one are whole
	code      string            // of the last error
	firstErr  string

	events    []*Event
	nextEvent int64
	reasons   []ending
}

type podKey struct{ name, address string }

// lane is a row of the picture: a pod that answered, or an endpoint that none has yet.
type lane struct {
	id            int
	name, address string
	spans         []Span // when name resolution had it
	last          int64  // the last second with an attempt
	before        *lane  // the lane that its address had before
}

// Span is a time for which an endpoint was known, in milliseconds since 1970; To is 0 while it is.
type Span struct {
	From int64 `json:"from"`
	To   int64 `json:"to,omitempty"`
}

// maxSpans is how many of them a lane keeps.
const maxSpans = 20

// column is one second.
type column struct {
	second, version int64
	rpcs, failed    int64
	cells           map[int]*cell // by lane
	latencies       map[int64]int64
}

type cell struct{ rpcs, failed int64 }

// Watch begins to watch a service.
func (h *Hub) Watch(name, target string) *Watched {
	w := &Watched{
		hub: h, name: name, target: target,
		byPod: map[podKey]*lane{}, byAddress: map[string]*lane{}, known: map[string]string{},
	}
	h.locked(func() { h.watched = append(h.watched, w) })

	return w
}

// Driven says how the service is driven, once that is known.
func (w *Watched) Driven(s status.Service) { w.hub.locked(func() { w.service = s }) }

// take adds a frame. One that is longer than a second is spread over its seconds.
func (w *Watched) take(f *loadreport.Frame, version int64) {
	first := f.Start.Unix()
	over := max(1, int64(f.Seconds))
	for i := range over {
		c := w.column(first+i, version)
		part := func(n int64) int64 { return n*(i+1)/over - n*i/over }
		c.rpcs += part(f.RPCs)
		c.failed += part(f.Failed)
		for j := range f.Pods {
			p := &f.Pods[j]
			if l := w.laneOf(p, version); l != nil {
				c.add(l.id, part(p.RPCs), part(p.FailedAttempts))
				l.last = max(l.last, first+i)
			}
		}
	}
	for _, bar := range f.LatencyMicros {
		w.column(first, version).latencies[bar[0]] += bar[1]
	}
	w.complete = max(w.complete, f.Start.Add(time.Duration(f.Seconds*float64(time.Second))+time.Millisecond).Unix())
	example := f.FirstError
	if len(f.ErrorsByCode) > 1 {
		example = "" // of which of them is not said
	}
	for code, n := range f.ErrorsByCode {
		w.code, w.firstErr = code, described(f.FirstError)
		w.fault(code, example, n, f.Start, version)
	}
}

func (w *Watched) column(second, version int64) *column {
	at, found := slices.BinarySearchFunc(w.columns, second, func(c *column, s int64) int { return int(c.second - s) })
	if !found {
		w.columns = slices.Insert(w.columns, at, &column{second: second, cells: map[int]*cell{}, latencies: map[int64]int64{}})
	}
	w.columns[at].version = version

	return w.columns[at]
}

func (c *column) add(lane int, rpcs, failed int64) {
	of, ok := c.cells[lane]
	if !ok {
		of = &cell{}
		c.cells[lane] = of
	}
	of.rpcs += rpcs
	of.failed += failed
}

// laneOf is the lane of who took attempts; nil if nobody did.
func (w *Watched) laneOf(p *loadreport.Pod, version int64) *lane {
	address := w.endpoint(p.Address)
	at := w.byAddress[address]
	switch {
	case p.Address == "" && p.Name == "":
		return nil
	case p.Name == "":
		if at == nil {
			at = w.newLane("", address)
		}

		return at
	}
	key := podKey{p.Name, address}
	l := w.byPod[key]
	switch {
	case at != nil && at.name == "" && l != nil && at.before == l:
		w.reopen(l, at, version)
	case l != nil:
	case at != nil && at.name == "":
		at.name, l = p.Name, at
	default:
		l = w.newLane(p.Name, address)
		w.moveOpened(at, l, version)
	}
	w.byPod[key] = l
	w.byAddress[address] = l

	return l
}

func (w *Watched) newLane(name, address string) *lane {
	w.makeRoom()
	w.nextLane++
	l := &lane{id: w.nextLane, name: name, address: address, before: w.byAddress[address], last: time.Now().Unix()}
	if l.before != nil {
		l.before.before = nil // one step back is enough
	}
	w.lanes = append(w.lanes, l)
	w.byAddress[address] = l

	return l
}

// reopen gives a lane whose pod has come back what the lane that stood for it had.
func (w *Watched) reopen(l, instead *lane, version int64) {
	l.spans = append(l.spans, instead.spans...)
	for _, c := range w.columns {
		if of := c.cells[instead.id]; of != nil {
			c.add(l.id, of.rpcs, of.failed)
			delete(c.cells, instead.id)
			c.version = version
		}
	}
	for _, e := range w.events {
		if e.Lane == instead.id {
			e.Lane, e.version = l.id, version
		}
	}
	w.lanes = slices.DeleteFunc(w.lanes, func(other *lane) bool { return other == instead })
}

// forget drops what is older than the page shows.
func (w *Watched) forget(now time.Time) {
	oldest := now.Unix() - memory
	w.columns = slices.DeleteFunc(w.columns, func(c *column) bool { return c.second < oldest })
	w.events = slices.DeleteFunc(w.events, func(e *Event) bool { return e.At < 1000*oldest })
	for _, l := range slices.Clone(w.lanes) {
		if l.last < oldest && !w.isKnown(l) {
			w.drop(l)
		}
	}
}

// isKnown says whether name resolution has a lane. Of several pods behind one address only the
// latest can be meant.
func (w *Watched) isKnown(l *lane) bool {
	_, ok := w.known[l.address]

	return ok && w.byAddress[l.address] == l
}

// makeRoom drops the lane that has been gone for longest, or else quiet.
func (w *Watched) makeRoom() {
	if len(w.lanes) < maxLanes {
		return
	}
	w.drop(slices.MinFunc(w.lanes, func(a, b *lane) int {
		if w.isKnown(a) != w.isKnown(b) {
			if w.isKnown(b) {
				return -1
			}

			return 1
		}

		return int(a.last - b.last)
	}))
}

func (w *Watched) drop(l *lane) {
	w.lanes = slices.DeleteFunc(w.lanes, func(other *lane) bool { return other == l })
	delete(w.byPod, podKey{l.name, l.address})
	if w.byAddress[l.address] == l {
		delete(w.byAddress, l.address)
	}
	for _, c := range w.columns {
		delete(c.cells, l.id)
	}
}
