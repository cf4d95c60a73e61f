package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Times of a real server's watches.
const (
	minWatchTimeout  = 30 * time.Minute // a watch that sets no timeoutSeconds ends after this to twice this
	bookmarkInterval = time.Minute
	lastBookmark     = 2 * time.Second // before the end, so that the next watch starts as late as possible
)

// watch streams the changes of a selection, one JSON object per line, until the watch is over.
//
// Once the request is valid, all errors are sent as events of type ERROR: so does upstream's watch cache.
func (s *Server) watch(ctx context.Context, w http.ResponseWriter, req *request, caller *cost) error {
	options, err := req.listOptions()
	if err != nil {
		return err
	}
	revision, err := parseRevision(options.ResourceVersion)
	if err != nil {
		return invalidRevision(req, err)
	}
	timeout := time.Duration(float64(minWatchTimeout) * (1 + rand.Float64()))
	if options.TimeoutSeconds != nil && *options.TimeoutSeconds != 0 {
		// A negative one ends the watch at once, as upstream; the bounds are for the multiplication.
		timeout = time.Duration(max(0, min(*options.TimeoutSeconds, 24*60*60))) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	control := http.NewResponseController(w)
	defer s.join(&stream{end: end, control: control})()

	out := &eventWriter{w: w, control: control, caller: caller}
	f := &follower{store: s.store, kind: req.kind, selection: req.selection(options), out: out}
	// Before the client hears that the watch is open: it may rely on seeing what changes from then on.
	state, err := s.begin(ctx, f, options, revision)

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if err := control.Flush(); err != nil {
		s.logger.DebugContext(ctx, "watch did not start", "error", err)
		return nil // the answer has begun, so there is no status to send
	}
	if err == nil {
		err = f.send(state, options)
	}
	if err == nil {
		err = f.follow(ctx, options.AllowWatchBookmarks)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errDown):
		return errDown
	case cause == nil && !out.broken:
		out.fail(err)
	}
	return nil
}

// begin settles from where to follow, and returns the state at that point if the client asked for it.
func (s *Server) begin(ctx context.Context, f *follower, options *internalversion.ListOptions, revision uint64) ([]*stored, error) {
	var state []*stored
	switch {
	case wantsState(options):
		if err := s.waitFor(ctx, revision); err != nil {
			return nil, err
		}
		state, f.revision = f.store.list(f.kind, f.selection.namespace)
	case revision == 0:
		f.revision = f.store.current()
	default:
		f.revision = revision
	}
	return state, nil
}

// wantsState relies on upstream's default, which asks for the state where a watch from resourceVersion "" or "0" always
// began with it.
func wantsState(options *internalversion.ListOptions) bool {
	return options.SendInitialEvents != nil && *options.SendInitialEvents
}

// follower reads the store's history for one watch. It keeps no queue: a client that reads slowly finds the later
// changes in the store's log, or that the log has moved on.
type follower struct {
	store     *Store
	kind      *kind
	selection selection
	revision  uint64 // up to here, everything is sent
	out       *eventWriter
}

// send sends a state as ADDED events, and then the bookmark that marks their end (KEP-3157).
func (f *follower) send(state []*stored, options *internalversion.ListOptions) error {
	for _, each := range state {
		if f.selection.matches(each) {
			if err := f.out.send(watch.Added, f.kind.typed(each.encoded)); err != nil {
				return err
			}
		}
	}
	if !wantsState(options) || !options.AllowWatchBookmarks {
		return nil
	}
	return f.sendBookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
}

// follow sends changes as they come until the context is done, or something fails.
func (f *follower) follow(ctx context.Context, bookmarks bool) error {
	var bookmarkDue <-chan time.Time
	for {
		changed := f.store.Changed()
		changes, revision, err := f.store.since(f.kind, f.revision)
		if err != nil {
			return err
		}
		for _, c := range changes {
			eventType, object, err := c.event(f.selection)
			if err != nil {
				return err
			}
			if eventType == "" {
				continue
			}
			if err := f.out.send(eventType, object); err != nil {
				return err
			}
		}
		f.revision = revision
		if bookmarks && bookmarkDue == nil {
			bookmarkDue = nextBookmark(ctx)
		}
		select {
		case <-changed:
		case <-bookmarkDue:
			if err := f.sendBookmark(nil); err != nil {
				return err
			}
			bookmarkDue = nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func nextBookmark(ctx context.Context) <-chan time.Time {
	due := bookmarkInterval
	if deadline, ok := ctx.Deadline(); ok {
		due = min(due, time.Until(deadline)-lastBookmark)
	}
	if due <= 0 {
		return make(chan time.Time) // the last one is sent
	}
	return time.After(due)
}

// sendBookmark tells the client up to which revision it has seen everything.
func (f *follower) sendBookmark(annotations map[string]string) error {
	mark := copyOf(f.kind.prototype)
	mark.SetResourceVersion(strconv.FormatUint(f.revision, 10))
	mark.SetAnnotations(annotations)
	encoded, err := encode(mark)
	if err != nil {
		return err
	}
	return f.out.send(watch.Bookmark, f.kind.typed(encoded.encoded))
}

// eventWriter sends events, and counts them for whoever asked for them.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	caller  *cost
	broken  bool
}

func (o *eventWriter) send(eventType watch.EventType, object []byte) error {
	n, err := fmt.Fprintf(o.w, "{\"type\":%q,\"object\":%s}\n", eventType, object)
	o.caller.watchBytes.Add(int64(n))
	if err == nil {
		o.caller.watchEvents.Add(1)
		err = o.control.Flush()
	}
	if err != nil {
		o.broken = true
		return fmt.Errorf("send an event of type %s: %w", eventType, err)
	}
	return nil
}

// fail ends the stream with an event of type ERROR.
func (o *eventWriter) fail(err error) {
	if encoded, encodeErr := json.Marshal(statusOf(err)); encodeErr == nil {
		_ = o.send(watch.Error, encoded) // nothing can follow it
	}
}
