package live

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/resolver"
)

// Kinds of events, each with a mark of its own on the page.
const (
	kindAdded   = "added"   // name resolution has a new endpoint
	kindRemoved = "removed" // and one less
	kindOpened  = "opened"  // a connection
	kindClosed  = "closed"  // a connection, by this side or for a reason that is not known
	kindGoaway  = "goaway"  // a connection that the server asked to leave
	kindBroken  = "broken"  // a connection that was lost
	kindError   = "error"   // RPCs failed, or name resolution did
	kindControl = "control" // the load was changed by hand
)

// Event is something that happened at a moment, in milliseconds since 1970.
type Event struct {
	ID      int64  `json:"id"`
	At      int64  `json:"at"`
	Kind    string `json:"kind"`
	Lane    int    `json:"lane,omitempty"`
	Address string `json:"address,omitempty"`
	Text    string `json:"text,omitempty"`
	Count   int64  `json:"count,omitempty"`

	version int64
	settled bool   // that there is a reason, or will be none
	fault   string // of what kind the errors are
}

// ending is why a connection ended.
type ending struct {
	at     time.Time
	reason string
}

func (w *Watched) event(e Event, l *lane, at time.Time, version int64) {
	w.nextEvent++
	e.ID, e.At, e.version = w.nextEvent, at.UnixMilli(), version
	if l != nil {
		e.Lane, e.Address = l.id, l.address
	}
	if len(w.events) >= maxEvents {
		w.events = w.events[1:]
	}
	w.events = append(w.events, &e)
}

// fault notes errors of a kind, with an example; those within a second are one event.
func (w *Watched) fault(kind, example string, n int64, at time.Time, version int64) {
	for _, e := range w.events {
		if e.Kind == kindError && e.fault == kind && e.At/1000 == at.Unix() {
			e.Count += n
			e.version = version

			return
		}
	}
	text := kind
	if example != "" {
		text += ": " + described(example)
	}
	w.event(Event{Kind: kindError, Text: text, Count: n, fault: kind}, nil, at, version)
}

// described is an error's text without the part that says its code.
func described(text string) string {
	if _, after, found := strings.Cut(text, " desc = "); found && strings.HasPrefix(text, "rpc error: ") {
		text = after
	}

	return short(text)
}

// Connection notes that a connection to an address was opened or closed.
func (w *Watched) Connection(address string, open bool) {
	w.hub.locked(func() {
		kind := kindClosed
		if open {
			kind = kindOpened
		}
		l := w.byAddress[w.endpoint(address)]
		if l == nil {
			l = w.newLane("", address)
		}
		w.event(Event{Kind: kind}, l, time.Now(), w.hub.version)
	})
}

// Ended notes why a connection ended, as gRFC A94 words it: "GOAWAY NO_ERROR", "connection reset",
// "subchannel shutdown", ... It comes before the connection is closed, after the last RPC on it.
func (w *Watched) Ended(reason string) {
	w.hub.locked(func() { w.reasons = append(w.reasons, ending{time.Now(), reason}) })
}

// moveOpened gives a pod the opening of the connection by which it was found, where others were
// behind the same address before.
func (w *Watched) moveOpened(from, to *lane, version int64) {
	if from == nil {
		return
	}
	for _, e := range slices.Backward(w.events) {
		if e.Lane == from.id && e.Kind == kindOpened {
			if e.At/1000 >= from.last {
				e.Lane, e.version = to.id, version
			}

			return
		}
	}
}

// settle gives connections that have ended their reasons. gRPC does not say which of them each
// reason is for: where several are open, all of them are named.
func (w *Watched) settle(now time.Time, version int64) {
	w.mixReasons()
	for _, e := range w.events {
		if e.Kind != kindClosed || e.settled {
			continue
		}
		if len(w.reasons) == 0 {
			e.settled = now.UnixMilli()-e.At > 2000

			continue
		}
		e.Text, e.version, e.settled = w.reasons[0].reason, version, true
		w.reasons = w.reasons[1:]
		switch {
		case strings.Contains(e.Text, either):
		case strings.HasPrefix(e.Text, "GOAWAY"):
			e.Kind = kindGoaway
		case e.Text != "subchannel shutdown":
			e.Kind = kindBroken
		}
	}
	// A connection that was asked to leave ends with its last RPC.
	w.reasons = slices.DeleteFunc(w.reasons, func(r ending) bool { return now.Sub(r.at) > 2*time.Minute })
	w.reasons = w.reasons[max(0, len(w.reasons)-maxEvents):]
}

// either stands between reasons of which one is right.
const either = " or "

func (w *Watched) mixReasons() {
	var different []string
	for _, r := range w.reasons {
		for reason := range strings.SplitSeq(r.reason, either) {
			if !slices.Contains(different, reason) {
				different = append(different, reason)
			}
		}
	}
	for i := range w.reasons {
		w.reasons[i].reason = strings.Join(different, either)
	}
}

// resolve compares what name resolution has with what it had.
func (w *Watched) resolve(state *resolver.State) {
	now, version := time.Now(), w.hub.version
	before := w.known
	w.known, w.resolved = endpoints(state), true
	for _, address := range sortedFirsts(w.known) {
		if _, ok := before[address]; ok {
			continue
		}
		l := w.byAddress[address]
		if l == nil || (l.name != "" && len(l.spans) > 0) {
			l = w.newLane("", address)
		}
		l.spans = append(l.spans, Span{From: now.UnixMilli()})
		l.spans = l.spans[max(0, len(l.spans)-maxSpans):]
		w.event(Event{Kind: kindAdded}, l, now, version)
	}
	for _, address := range sortedFirsts(before) {
		if _, ok := w.known[address]; ok {
			continue
		}
		l := w.byAddress[address]
		if l == nil {
			continue
		}
		if last := len(l.spans) - 1; last >= 0 {
			l.spans[last].To = now.UnixMilli()
		}
		l.last = max(l.last, now.Unix())
		w.event(Event{Kind: kindRemoved}, l, now, version)
	}
}

// endpoints are the addresses of a state, each with the first one of its endpoint.
func endpoints(state *resolver.State) map[string]string {
	known := map[string]string{}
	for _, e := range state.Endpoints {
		for _, a := range e.Addresses {
			known[a.Addr] = e.Addresses[0].Addr
		}
	}
	if len(state.Endpoints) == 0 {
		for _, a := range state.Addresses {
			known[a.Addr] = a.Addr
		}
	}

	return known
}

// sortedFirsts are the endpoints' first addresses.
func sortedFirsts(known map[string]string) []string {
	var firsts []string
	for address, first := range known {
		if address == first {
			firsts = append(firsts, first)
		}
	}
	slices.SortFunc(firsts, func(a, b string) int {
		// As numbers, where they are IP addresses: 10.0.0.9 comes before 10.0.0.10.
		x, errX := netip.ParseAddrPort(a)
		y, errY := netip.ParseAddrPort(b)
		if errX != nil || errY != nil {
			return strings.Compare(a, b)
		}

		return x.Compare(y)
	})

	return firsts
}

// endpoint is the first address of the endpoint that an address is of.
func (w *Watched) endpoint(address string) string {
	if first, ok := w.known[address]; ok {
		return first
	}

	return address
}
