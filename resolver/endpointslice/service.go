package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// How long to wait between turns: a little more each time, and up to half as much again by chance, so that the clients
// of a server that comes back do not come all at once.
const (
	firstBackoff = 200 * time.Millisecond
	// maxBackoff is for a server that does not answer or refuses, and maxBackoffSynced, for each request that the turn
	// took, for one that sends the state and then ends the watch.
	maxBackoff       = 10 * time.Second
	maxBackoffSynced = time.Second
	// firstAnswer is how long a channel waits for the API server until it says that it waits.
	firstAnswer = 10 * time.Second
)

var errSilent = fmt.Errorf("not within %v", firstAnswer)

// service watches the EndpointSlices of one Service, for all channels of a Builder that have it as their target.
type service struct {
	namespace, name string
	store           *store
	source          *source
	clock           clock.WithTicker
	logger          *slog.Logger
	reflector       *cache.Reflector
	reason          atomic.Value // string: why the store may be out of date, "" if it is not

	users int // guarded by the Builder

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startService(client rest.Interface, namespace, name string, clk clock.WithTicker, logger *slog.Logger) *service {
	s := &service{
		namespace: namespace, name: name, clock: clk,
		logger: logger.With("namespace", namespace, "service", name),
		store:  newStore(clk.Now()),
		source: newSource(client, namespace, name, clk),
	}
	s.store.recovered = s.recovered
	s.source.failed = s.failed
	s.source.ended = s.ended
	s.source.heard = func() { s.store.heard(clk.Now()) }
	quiet := quietly(s.logger)
	s.reflector = cache.NewReflectorWithOptions(s.source, &discoveryv1.EndpointSlice{}, s.store, cache.ReflectorOptions{
		Logger: &quiet, Name: "endpointslice-resolver", Clock: clk,
		Backoff: &wait.Backoff{Duration: firstBackoff, Factor: 2, Jitter: 0.5, Steps: 16, Cap: maxBackoff},
	})
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), quiet))
	s.cancel = cancel
	live.add(s)
	s.done.Go(func() { s.run(ctx) })
	s.done.Go(func() { s.watchdog(ctx) })
	return s
}

// stop ends the watch and waits for it.
func (s *service) stop() {
	s.cancel()
	s.done.Wait()
	live.remove(s)
}

// run does what Reflector.Run does, with the injected clock, for which Run has no use between two turns.
func (s *service) run(ctx context.Context) {
	defer s.source.wait()
	failures := 0
	for ctx.Err() == nil {
		s.source.beginTurn()
		started, before := s.clock.Now(), s.store.current().lists
		err := s.reflector.ListAndWatchWithContext(ctx)
		if ctx.Err() != nil {
			return
		}
		synced := s.store.current().lists != before
		if err != nil && !synced && !s.source.told {
			s.failed("list", err) // of a kind that is not a request's
		}
		if synced && s.clock.Since(started) > maxBackoff {
			failures = 0
		}
		limit := maxBackoff
		if synced && !s.source.told {
			limit = maxBackoffSynced * time.Duration(s.source.asked)
		}
		if !s.sleep(ctx, backoff(failures, limit)) {
			return
		}
		failures++
	}
}

// watchdog tells of a server that takes the first request and says nothing: it would only be told after client-go's
// pings have failed (45 s), and for plain HTTP never.
func (s *service) watchdog(ctx context.Context) {
	if s.sleep(ctx, firstAnswer) {
		if now := s.store.current(); now.lists == 0 && now.failures == 0 {
			s.failed("watch", errSilent)
		}
	}
}

func backoff(failures int, limit time.Duration) time.Duration {
	d := min(firstBackoff<<min(failures, 16), limit)
	return d + time.Duration(rand.Int64N(int64(d)/2))
}

// sleep waits, and returns false if the context ends before.
func (s *service) sleep(ctx context.Context, d time.Duration) bool {
	timer := s.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *service) failed(verb string, err error) {
	reason := reasonOf(err)
	counts.errors.WithLabelValues(s.namespace, s.name, reason).Inc()
	described := s.describe(verb, err)
	level := slog.LevelWarn
	if s.reason.Swap(reason) == reason {
		level = slog.LevelDebug // it was told when it began
	}
	s.logger.Log(context.Background(), level, "cannot follow the EndpointSlices; what is known of them stays", "error", described)
	s.store.fail(described)
}

// recovered is called when a whole list has come after an error.
func (s *service) recovered() {
	s.reason.Store("")
	s.logger.Info("follows the EndpointSlices again")
}

func (s *service) ended(reason string, err error) {
	counts.restarts.WithLabelValues(s.namespace, s.name, reason).Inc()
	if err != nil {
		s.logger.Warn("the watch of the EndpointSlices ended", "error", err)
	} else {
		s.logger.Debug("the watch of the EndpointSlices ended", "reason", reason)
	}
}

// describe says what is wrong with what, and what to do about it if that is known.
func (s *service) describe(verb string, err error) error {
	what := fmt.Sprintf("%q on %q", verb, resource+"."+discoveryv1.GroupName)
	switch {
	case apierrors.IsForbidden(err):
		what = `"` + strings.Join(s.source.denied, `" and "`) + strings.TrimPrefix(what, `"`+verb)
		return s.errorf(": the API server denies %s in this namespace: grant list and watch on it with a Role: %w", what, err)
	case apierrors.IsUnauthorized(err):
		return s.errorf(": the API server does not accept the credentials for %s (expired or missing token): %w", what, err)
	case apierrors.IsNotFound(err):
		return s.errorf(": the API server does not find anything for %s: the namespace or the API group may not exist: %w", what, err)
	case isUnreachable(err):
		return s.errorf(": no answer from the API server for %s: %w", what, err)
	}
	return s.errorf(": the API server refuses %s: %w", what, err)
}

func (s *service) errorf(format string, args ...any) error {
	return fmt.Errorf("endpointslice: service %q in namespace %q"+format, slices.Concat([]any{s.name, s.namespace}, args)...)
}

// reasonOf sorts an error for the metrics.
func reasonOf(err error) string {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err):
		return "forbidden"
	case apierrors.IsUnauthorized(err):
		return "unauthorized"
	case apierrors.IsNotFound(err):
		return "not_found"
	case !errors.As(err, &status):
		return "unreachable"
	case status.Status().Code >= http.StatusInternalServerError || status.Status().Code == http.StatusTooManyRequests:
		return "server"
	}
	return "refused"
}
