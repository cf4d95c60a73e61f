package endpointslice

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// snapshot is what is known of a Service at one moment. It is never changed.
type snapshot struct {
	// lists counts the whole lists that have come. Before the first, there is no state.
	lists  int
	slices []*slice // in order of their names
	// err is what keeps the state from being current, nil once it is again. failures counts how often it was seen.
	err      error
	failures int
}

// store is what the reflector fills. It holds the slices of one Service as they were read, and not the API's objects.
type store struct {
	mu          sync.Mutex
	now         snapshot
	lastEvent   time.Time
	subscribers map[chan struct{}]struct{}
	// recovered is called when a list has come after an error.
	recovered func()
}

func newStore(started time.Time) *store {
	return &store{subscribers: map[chan struct{}]struct{}{}, lastEvent: started, recovered: func() {}}
}

// subscribe returns a channel that gets a value whenever the snapshot has changed, and one at once.
func (s *store) subscribe() chan struct{} {
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[changed] = struct{}{}
	return changed
}

func (s *store) unsubscribe(changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subscribers, changed)
}

func (s *store) current() snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// change replaces the snapshot by what f makes of it, and tells everyone.
func (s *store) change(f func(*snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.now
	f(&next)
	s.now = next
	for changed := range s.subscribers {
		select {
		case changed <- struct{}{}:
		default: // it has not looked yet since the last one
		}
	}
}

// fail keeps what there is, and says why it may be out of date.
func (s *store) fail(err error) {
	s.change(func(now *snapshot) { now.err, now.failures = err, now.failures+1 })
}

func (s *store) heard(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEvent = at
}

func (s *store) lastHeard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastEvent
}

var errNoSlice = errors.New("not an EndpointSlice")

func byName(s *slice, name string) int { return strings.Compare(s.name, name) }

// Add is called by the reflector, as are the other methods of cache.ReflectorStore below.
func (s *store) Add(object any) error {
	read, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return fmt.Errorf("%w: %T", errNoSlice, object)
	}
	put := readSlice(read)
	s.change(func(now *snapshot) {
		at, found := slices.BinarySearchFunc(now.slices, put.name, byName)
		now.slices = slices.Clone(now.slices)
		if found {
			now.slices[at] = put
		} else {
			now.slices = slices.Insert(now.slices, at, put)
		}
	})
	return nil
}

// Update is as Add.
func (s *store) Update(object any) error { return s.Add(object) }

// Delete takes a slice away.
func (s *store) Delete(object any) error {
	read, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return fmt.Errorf("%w: %T", errNoSlice, object)
	}
	s.change(func(now *snapshot) {
		if at, found := slices.BinarySearchFunc(now.slices, read.Name, byName); found {
			now.slices = slices.Delete(slices.Clone(now.slices), at, at+1)
		}
	})
	return nil
}

// Replace puts a whole list in place of everything.
func (s *store) Replace(objects []any, _ string) error {
	all := make([]*slice, 0, len(objects))
	for _, object := range objects {
		read, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			return fmt.Errorf("%w: %T", errNoSlice, object)
		}
		all = append(all, readSlice(read))
	}
	slices.SortStableFunc(all, func(a, b *slice) int { return byName(a, b.name) })
	all = slices.CompactFunc(all, func(a, b *slice) bool { return a.name == b.name })
	if s.current().err != nil {
		s.recovered() // before anyone says what is new in the list
	}
	s.change(func(now *snapshot) { now.lists, now.slices, now.err = now.lists+1, all, nil })
	return nil
}

// Resync has nothing to do: nobody works on the store but those who look at all of it.
func (s *store) Resync() error { return nil }
