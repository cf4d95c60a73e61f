// Package live is the client's page: what a strategy does, as it happens.
//
// A Hub adds the load's frames up by pod and second, and keeps the last minutes, so that
// a page that is opened later is full at once. To the frames come events: endpoints that name
// resolution adds and removes (seen by a resolver that passes everything on), connections
// that open and close, errors, and what was changed by hand; and the states that channelz has
// of channels and subchannels. Pages read it all as server-sent events.
//
// Everything is bounded: seconds, lanes, events and readers. A reader is sent what it does not
// have yet when it can take it; none is waited for.
package live

import (
	"strconv"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/load"
)

const (
	// memory is how many seconds are kept.
	memory = 180
	// maxLanes is how many pods of a service are kept apart. The ones that are gone make room first.
	maxLanes = 500
	// maxEvents is how many events of a service are kept.
	maxEvents = 600
	// maxReaders is how many pages may be open.
	maxReaders = 32
	// tick is how often pages hear of what is new.
	tick = time.Second
	// frameBuffer is how many frames the hub may fall behind.
	frameBuffer = 4096
)

// Hub collects what pages show. Its methods may be called from anywhere, at any time.
type Hub struct {
	mu       sync.Mutex
	version  int64 // goes up with each change; a page knows what it has by it
	watched  []*Watched
	readers  int
	news     chan struct{} // closed when there is something new, or the end
	closed   bool
	epoch    string // of this process: versions of another mean nothing
	channelz channelz
	changing sync.Mutex // held while the load is changed by hand
}

// NewHub is a hub that has heard nothing.
func NewHub() *Hub {
	return &Hub{news: make(chan struct{}), epoch: strconv.FormatInt(time.Now().UnixNano(), 36), channelz: newChannelz()}
}

// Run takes the frames of the feed until it is closed; then it ends the pages' streams.
func (h *Hub) Run(feed *load.Feed) {
	defer h.close()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	subscription := feed.Subscribe(frameBuffer)
	defer func() { subscription.Close() }()
	for {
		select {
		case frame, ok := <-subscription.Frames:
			switch {
			case ok:
				h.take(frame)
			case subscription.Behind():
				subscription = feed.Subscribe(frameBuffer)
			default:
				return
			}
		case <-ticker.C:
			h.tell()
		}
	}
}

// locked changes the hub.
func (h *Hub) locked(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version++
	change()
}

func (h *Hub) take(f *loadreport.Frame) {
	h.locked(func() {
		if w := h.find(f.Service); w != nil {
			w.take(f, h.version)
		}
	})
}

// tell wakes the pages.
func (h *Hub) tell() {
	h.locked(func() {
		now := time.Now()
		for _, w := range h.watched {
			w.settle(now, h.version)
			w.forget(now)
		}
		close(h.news)
		h.news = make(chan struct{})
	})
}

func (h *Hub) close() {
	h.locked(func() {
		h.closed = true
		close(h.news)
	})
}

func (h *Hub) find(service string) *Watched {
	for _, w := range h.watched {
		if w.name == service {
			return w
		}
	}

	return nil
}

// changedByHand notes what a service's load was changed to.
func (h *Hub) changedByHand(service, to string) {
	h.locked(func() {
		if w := h.find(service); w != nil {
			w.event(Event{Kind: kindControl, Text: to}, nil, time.Now(), h.version)
		}
	})
}
