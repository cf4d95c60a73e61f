package consistenthash

import (
	"math/bits"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/cpu"
	"google.golang.org/grpc/balancer"
)

// endpoint counts the requests in flight on one endpoint. It outlives pickers
// and rings, and a removed endpoint's lives on until its last request ends, in
// case it comes back before that.
type endpoint struct {
	identity string // tells it from all others: its addresses, sorted
	position int    // in the present ring's places, or notOnRing. Guarded by policy.mu

	done   func(balancer.DoneInfo) // ends one request. Made once, so that a pick allocates nothing
	tally  *tally
	counts *outcomeCounts

	_ cpu.CacheLinePad
	// load is the number in flight, times two, plus one while they are left out of
	// the tally because the endpoint is not READY. Both in one word, so that a
	// request that ends knows whether the tally counts it.
	load atomic.Int64
	_    cpu.CacheLinePad
}

const notOnRing = -1

const (
	leftOut    = 1
	oneRequest = 2
)

// tally is the number of requests in flight on all READY endpoints, those that
// are being placed included. It is raised before an endpoint's load is and
// lowered after, so it is never less than the sum of the loads. Some endpoint
// therefore always has room: were all full, their loads would sum to more.
type tally struct {
	_     cpu.CacheLinePad
	total atomic.Int64
	_     cpu.CacheLinePad
}

func newEndpoint(identity string, t *tally) *endpoint {
	e := &endpoint{
		identity: identity,
		position: notOnRing,
		tally:    t,
		counts:   &outcomes[xxhash.Sum64String(identity)%uint64(len(outcomes))],
	}
	e.load.Store(leftOut)
	e.done = func(balancer.DoneInfo) {
		if e.load.Add(-oneRequest)&leftOut == 0 {
			t.total.Add(-1)
		}
	}
	return e
}

// inFlight is the number of requests in flight on the endpoint.
func (e *endpoint) inFlight() int64 { return e.load.Load() / oneRequest }

// join makes the tally count the endpoint's requests.
func (e *endpoint) join() {
	for {
		load := e.load.Load()
		if load&leftOut == 0 {
			return
		}
		e.tally.total.Add(load / oneRequest)
		if e.load.CompareAndSwap(load, load-leftOut) {
			return
		}
		e.tally.total.Add(-load / oneRequest)
	}
}

// leave makes the tally leave the endpoint's requests out. Those of them that
// end later know, so nothing is subtracted twice.
func (e *endpoint) leave() {
	for {
		load := e.load.Load()
		if load&leftOut != 0 {
			return
		}
		if e.load.CompareAndSwap(load, load+leftOut) {
			e.tally.total.Add(-load / oneRequest)
			return
		}
	}
}

type admission int

const (
	admitted admission = iota
	full
	left // the endpoint is no longer READY: whoever asks has an old picker
)

// admit counts one more request if the endpoint may hold it when m are in
// flight. It never counts one that it then has to take back, for that would make
// the endpoint look full to others.
func (e *endpoint) admit(m int64, b bound) admission {
	for {
		load := e.load.Load()
		if load&leftOut != 0 {
			return left
		}
		if !b.allows(load/oneRequest, m) {
			return full
		}
		if e.load.CompareAndSwap(load, load+oneRequest) {
			return admitted
		}
	}
}

// bound says how much an endpoint may hold.
type bound struct {
	share uint64 // loadFactor (in its unit) times the endpoint's weight
	whole uint64 // the sum of weights (in the same unit)
	least int64  // it may always hold this many
}

// allows says whether an endpoint that holds load may take one more when that
// makes m in all: load+1 <= ceil(loadFactor*m*weight/sum). For whole numbers that
// is load < loadFactor*m*weight/sum, which needs no division and no rounding.
func (b bound) allows(load, m int64) bool {
	if load < b.least {
		return true
	}
	heldHigh, heldLow := bits.Mul64(uint64(load), b.whole)
	roomHigh, roomLow := bits.Mul64(uint64(m), b.share)
	return heldHigh < roomHigh || heldHigh == roomHigh && heldLow < roomLow
}
