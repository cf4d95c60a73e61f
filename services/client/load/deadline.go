package load

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// deadlines hands out contexts that end after a timeout. RPCs begun within a
// hundredth of the timeout share one, so each gets up to that much more: a timer and
// a context for every RPC cost more than recording it does.
type deadlines struct {
	timeout time.Duration
	parts   []deadline
}

// deadline is the context that one part of the RPCs begun now shares.
type deadline struct {
	mu      sync.Mutex
	context context.Context
	cancel  context.CancelFunc
	until   time.Time // when RPCs begun get the next one
	_       [64]byte  // keeps neighbours off the cache line
}

func newDeadlines(timeout time.Duration) *deadlines {
	return &deadlines{timeout: timeout, parts: make([]deadline, min(runtime.GOMAXPROCS(0), 8))}
}

// next is the context for an RPC that begins now.
func (d *deadlines) next(n int) context.Context {
	p := &d.parts[uint(n)%uint(len(d.parts))]
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.context == nil || !now.Before(p.until) {
		shared := d.timeout / 100
		p.until = now.Add(shared)
		// The one before is left to the RPCs that have it. It ends at its time.
		p.context, p.cancel = context.WithDeadline(context.Background(), now.Add(d.timeout+shared))
	}

	return p.context
}

// stop ends the contexts that are being handed out.
func (d *deadlines) stop() {
	for i := range d.parts {
		if cancel := d.parts[i].cancel; cancel != nil {
			cancel()
		}
	}
}
