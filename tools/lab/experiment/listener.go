package experiment

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// maxLine is more than any frame takes, in bytes.
const maxLine = 4 << 20

// lastReport bounds the wait for the client's last report.
const lastReport = 10 * time.Second

// listener follows what one overlay's client reports.
type listener struct {
	overlay  string
	base     string
	http     *http.Client
	progress Progress
	first    chan struct{}

	mu           sync.Mutex
	heard        []loadreport.Frame
	last         map[string]time.Time // when the last frame of each service began
	doubts       []string
	services     map[string]strategy
	rpcs, failed int64
}

// strategy is a target, a service config and the keys of RPCs, as the client says that
// it uses them, and whether somebody has changed its load.
type strategy struct {
	Target        string        `json:"target"`
	ServiceConfig string        `json:"serviceConfig"`
	Keys          *results.Keys `json:"keys"`
	ChangedByHand bool          `json:"changedByHand"`
}

func newListener(env Environment, o *render.Overlay, progress Progress) (*listener, error) {
	base, client, err := env.Client(o)
	if err != nil {
		return nil, fmt.Errorf("overlay %s: client: %w", o.Name, err)
	}

	return &listener{
		overlay: o.Name, base: base, http: client, progress: progress,
		first: make(chan struct{}), last: map[string]time.Time{},
	}, nil
}

// listen follows the client until ctx is done. A stream that ends before that is begun again where it broke off: the
// client keeps what it has reported for a while. Only a client that ends takes what it has not reported with it.
func (l *listener) listen(ctx context.Context) {
	for {
		_ = l.follow(ctx) // whatever it was, it is tried again
		if ctx.Err() != nil {
			return
		}
		if sleep(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}

func (l *listener) follow(ctx context.Context) error {
	if err := l.readReport(ctx); err != nil {
		return err
	}
	response, err := l.get(ctx, "/events"+l.since())
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var f loadreport.Frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return fmt.Errorf("a frame that cannot be read: %w", err)
		}
		l.take(f)
	}
	if err := lines.Err(); err != nil {
		return err
	}

	return errors.New("the stream ended")
}

// since is the query for what was not heard yet; "" for what comes.
func (l *listener) since() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == 0 {
		return ""
	}
	earliest := slices.MinFunc(slices.Collect(maps.Values(l.last)), time.Time.Compare)

	return "?since=" + url.QueryEscape(earliest.Format(time.RFC3339Nano))
}

// readLast asks the client once more, when all has happened: somebody may have changed its load since.
func (l *listener) readLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastReport)
	defer cancel()
	if err := l.readReport(ctx); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.doubts = append(l.doubts, fmt.Sprintf("%s: its client's last report is missing, which says whether its load was changed by hand: %v.",
			l.overlay, err))
	}
}

// readReport asks what the client's targets are, and whether its load is still the scenario's.
func (l *listener) readReport(ctx context.Context) error {
	response, err := l.get(ctx, "/report")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	var report struct {
		Services []struct {
			Service string `json:"service"`
			strategy
		} `json:"services"`
	}
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		return fmt.Errorf("a report that cannot be read: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.services
	l.services = map[string]strategy{}
	for _, s := range report.Services {
		// A client that was started again does not know what was done to the one before it.
		s.ChangedByHand = s.ChangedByHand || before[s.Service].ChangedByHand
		l.services[s.Service] = s.strategy
	}

	return nil
}

func (l *listener) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := l.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // what it says does not matter

		return nil, fmt.Errorf("%s answers %s", request.URL, response.Status)
	}

	return response, nil
}

func (l *listener) take(f loadreport.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, known := l.last[f.Service]
	if known && !f.Start.After(last) {
		return // it was heard before the stream broke off
	}
	if missing := f.Start.Sub(last).Seconds() - f.Seconds; known && missing > f.Seconds/2 {
		l.doubts = append(l.doubts, fmt.Sprintf("%s: the client's report of %s lacks %.1f s before %s.",
			l.overlay, f.Service, missing, f.Start.Format(time.TimeOnly)))
	}
	l.last[f.Service] = f.Start
	if len(l.heard) == 0 {
		close(l.first)
	}
	l.heard = append(l.heard, f)
	l.rpcs += f.RPCs
	l.failed += f.Failed
	l.progress.Count(l.overlay, l.rpcs, l.failed)
}

// awaitFirst waits for the first frame in which an RPC was sent.
func (l *listener) awaitFirst(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.first:
		return nil
	case <-timer.C:
		return fmt.Errorf("overlay %s: its client has reported nothing in %v", l.overlay, patience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// frames are what was heard, by service, in order.
func (l *listener) frames() map[string][]loadreport.Frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	byService := map[string][]loadreport.Frame{}
	for _, f := range l.heard {
		byService[f.Service] = append(byService[f.Service], f)
	}
	for _, frames := range byService {
		slices.SortStableFunc(frames, func(a, b loadreport.Frame) int { return a.Start.Compare(b.Start) })
	}

	return byService
}

func (l *listener) strategy(service string) strategy {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.services[service]
}

func (l *listener) notes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.doubts)
	for _, service := range slices.Sorted(maps.Keys(l.services)) {
		if l.services[service].ChangedByHand {
			out = append(out, fmt.Sprintf("%s: somebody changed the load of %s by hand while it ran: its figures are not of the scenario's load.",
				l.overlay, service))
		}
	}

	return out
}
