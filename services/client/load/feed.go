package load

import (
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// Memory is how long a feed keeps frames, for a subscriber that was cut off to hear what it missed.
const Memory = time.Minute

// Feed hands frames to subscribers and waits for none of them.
type Feed struct {
	mu          sync.Mutex
	closed      bool
	subscribers map[*Subscription]struct{}
	recent      []*loadreport.Frame
}

// Subscription is a subscriber's place in the feed.
type Subscription struct {
	// Frames has every frame from the subscription on, shared with the other
	// subscribers: do not change them. It is closed when the subscriber fell behind
	// by more than its buffer, when the subscription or when the feed is closed.
	Frames <-chan *loadreport.Frame

	frames chan *loadreport.Frame
	feed   *Feed
	behind bool
}

// NewFeed is a feed without subscribers.
func NewFeed() *Feed { return &Feed{subscribers: map[*Subscription]struct{}{}} }

// Subscribe begins a subscription that may fall behind by so many frames.
func (f *Feed) Subscribe(buffer int) *Subscription {
	return f.SubscribeSince(buffer, time.Now().Add(Memory)) // none of those that are kept
}

// SubscribeSince begins a subscription with the frames, of those that are kept, that began at a time or after it.
func (f *Feed) SubscribeSince(buffer int, since time.Time) *Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	var missed []*loadreport.Frame
	for _, frame := range f.recent {
		if !frame.Start.Before(since) {
			missed = append(missed, frame)
		}
	}
	frames := make(chan *loadreport.Frame, buffer+len(missed))
	for _, frame := range missed {
		frames <- frame
	}
	s := &Subscription{Frames: frames, frames: frames, feed: f}
	if f.closed {
		close(frames)
	} else {
		f.subscribers[s] = struct{}{}
	}

	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.feed.drop(s)
}

// Behind says whether the subscription ended because the subscriber fell behind.
// It is to be asked once Frames is closed.
func (s *Subscription) Behind() bool {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()

	return s.behind
}

// Close ends every subscription, now and to come.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subscribers {
		f.drop(s)
	}
}

func (f *Feed) publish(frame *loadreport.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = append(slices.DeleteFunc(f.recent, func(kept *loadreport.Frame) bool {
		return frame.Start.Sub(kept.Start) > Memory
	}), frame)
	for s := range f.subscribers {
		select {
		case s.frames <- frame:
		default:
			s.behind = true
			f.drop(s)
		}
	}
}

func (f *Feed) drop(s *Subscription) {
	if _, ok := f.subscribers[s]; ok {
		delete(f.subscribers, s)
		close(s.frames)
	}
}
