package endpointslice

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// rewatchAfter is how long a watch must have lasted for the reflector to open the next one without delay. It would do so
// at once, and for ever, with a server or a proxy that closes each watch after an event.
const rewatchAfter = time.Second

var (
	errWatchTooShort = errors.New("the API server closed the last watch at once")
	errNoAnswer      = errors.New("the connection broke before the API server answered")
	// emptyWatch is what client-go returns in place of an error when a connection breaks before there is an answer.
	emptyWatch = reflect.TypeOf(watch.NewEmptyWatch())
)

// source lists and watches the EndpointSlices of a Service for the reflector, and sees every error before it does.
// The reflector uses it from one goroutine at a time.
type source struct {
	client    rest.Interface
	namespace string
	selector  string
	clock     clock.PassiveClock

	// failed is told about errors of requests: they keep the state from being current.
	failed func(verb string, err error)
	// ended is told why a watch that had begun is over.
	ended func(reason string, err error)
	// heard is told about every sign of life of a watch or a list.
	heard func()

	// busy is held by whatever may still run when the reflector has returned: it does not wait for a list.
	busy sync.RWMutex

	// Of one turn of the reflector, which is a list and the watches after it.
	asked       int       // requests sent
	opened      time.Time // when its last watch began
	forgiven    bool      // whether a watch that was over at once did not count
	unreachable error     // why it makes no sense to send another request in this turn
	told        bool      // whether failed was called
	denied      []string  // the verbs that are
}

func newSource(client rest.Interface, namespace, service string, clk clock.PassiveClock) *source {
	return &source{
		client: client, namespace: namespace, clock: clk,
		selector: labels.Set{discoveryv1.LabelServiceName: service}.String(),
	}
}

func (s *source) beginTurn() {
	s.asked, s.opened, s.forgiven, s.unreachable, s.told, s.denied = 0, time.Time{}, false, nil, false, nil
}

// wait waits for what the reflector did not wait for.
func (s *source) wait() {
	s.busy.Lock()
	defer s.busy.Unlock()
}

func (s *source) request(options *metav1.ListOptions) *rest.Request {
	options.LabelSelector = s.selector
	// Retrying is done by the turns; client-go's own retries would only keep an outage secret for ten seconds.
	return s.client.Get().Namespace(s.namespace).Resource(resource).VersionedParams(options, parameterCodec).MaxRetries(0)
}

// ListWithContext lists the slices. It asks nothing of a server that has just not answered a watch.
func (s *source) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	s.busy.RLock()
	defer s.busy.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.unreachable != nil {
		return nil, s.unreachable
	}
	s.asked++
	found := &discoveryv1.EndpointSliceList{}
	if err := s.request(&options).Do(ctx).Into(found); err != nil {
		if !isExpired(err) { // after which the reflector asks for the newest
			s.fail(ctx, "list", err)
		}
		return nil, err
	}
	s.heard()
	return found, nil
}

// WatchWithContext begins a watch.
func (s *source) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if s.clock.Since(s.opened) < rewatchAfter {
		return nil, errWatchTooShort
	}
	withState := options.SendInitialEvents != nil
	options.Watch = true
	s.asked++
	w, err := s.request(&options).Watch(ctx)
	if err == nil && reflect.TypeOf(w) == emptyWatch {
		err = errNoAnswer
	}
	if err != nil {
		return nil, s.refused(ctx, withState, err)
	}
	s.opened = s.clock.Now()
	return s.observe(ctx, w), nil
}

// refused tells about a watch that did not begin, and returns what the reflector should believe of it.
func (s *source) refused(ctx context.Context, withState bool, err error) error {
	if withState && (errors.Is(err, errNoAnswer) || !isUnreachable(err)) {
		// A list follows, and tells more: this may only be a server that does not know how to begin a watch with the
		// state (KEP-3157).
		s.deny("watch", err)
		return err
	}
	s.fail(ctx, "watch", err)
	if isUnreachable(err) {
		s.unreachable = err
		// Only its text: for some of these errors the reflector would wait, deaf to the end of its context.
		return errors.New(err.Error())
	}
	return err
}

func (s *source) fail(ctx context.Context, verb string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.deny(verb, err)
	s.told = true
	s.failed(verb, err)
}

func (s *source) deny(verb string, err error) {
	if apierrors.IsForbidden(err) && !slices.Contains(s.denied, verb) {
		s.denied = append(s.denied, verb)
		slices.Sort(s.denied)
	}
}

// isExpired says that a resourceVersion is too old for a server, or too new. The reflector begins anew.
func isExpired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// isUnreachable says that a server did not answer, or that it is too busy.
func isUnreachable(err error) bool {
	var status apierrors.APIStatus
	return !isExpired(err) && (!errors.As(err, &status) || status.Status().Code == http.StatusTooManyRequests || status.Status().Code >= http.StatusInternalServerError)
}

// observe passes the events of a watch on.
func (s *source) observe(ctx context.Context, w watch.Interface) watch.Interface {
	o := &observed{Interface: w, events: make(chan watch.Event), stopped: make(chan struct{})}
	s.busy.RLock()
	go func() {
		defer s.busy.RUnlock()
		defer close(o.events)
		for event := range w.ResultChan() {
			if event.Type == watch.Error {
				if !s.last(ctx, o, event) {
					return
				}
			} else {
				s.heard()
			}
			select {
			case o.events <- event:
			case <-o.stopped:
			}
		}
		s.over(ctx, o, "closed", nil)
	}()
	return o
}

// last tells about the event that ends a watch, and whether the reflector should see it.
func (s *source) last(ctx context.Context, o *observed, event watch.Event) bool {
	err := apierrors.FromObject(event.Object)
	switch {
	case isExpired(err):
		s.over(ctx, o, "expired", nil)
		if !s.forgiven { // the reflector knows what to ask for next
			s.forgiven, s.opened = true, time.Time{}
		}
		return true
	case isUnreachable(err):
		// The reflector would wait for some of these by itself. Closed is all that it needs to know.
		s.over(ctx, o, "broken", err)
		o.Stop()
		return false
	}
	s.over(ctx, o, "error", err)
	return true
}

func (s *source) over(ctx context.Context, o *observed, reason string, err error) {
	o.once.Do(func() {
		select {
		case <-o.stopped: // by the reflector
		default:
			if ctx.Err() == nil {
				s.ended(reason, err)
			}
		}
	})
}

// observed is a watch whose events pass through a goroutine of source.observe.
type observed struct {
	watch.Interface
	events  chan watch.Event
	stopped chan struct{}
	once    sync.Once // for telling the end
	stop    sync.Once
}

func (o *observed) ResultChan() <-chan watch.Event { return o.events }

func (o *observed) Stop() {
	o.stop.Do(func() { close(o.stopped) })
	o.Interface.Stop()
}

// List and Watch are there for cache.ListerWatcher, of which the reflector only uses the forms with a context.
func (s *source) List(options metav1.ListOptions) (runtime.Object, error) {
	return s.ListWithContext(context.Background(), options)
}

func (s *source) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return s.WatchWithContext(context.Background(), options)
}
