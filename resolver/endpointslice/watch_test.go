package endpointslice

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

const target = "endpointslice:///rng:grpc"

func TestTheFirstStateIsOfAllSlices(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")), sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	c := resolve(t, builderFor(a), target)
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
	if n := c.updates(); n != 1 {
		t.Errorf("the first state came in %d parts", n)
	}
}

func TestAServerWithoutWatchListIsListed(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	a.set(func() { a.noState = true })
	c := resolve(t, builderFor(a), target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	a.put(sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
	if last, n := c.reported(); n > 0 {
		t.Errorf("it was told as an error: %s", last)
	}
	if n := a.count("list"); n != 1 {
		t.Errorf("%d lists, want 1", n)
	}
}

func TestAnEmptiedSliceTakesItsEndpointsAway(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")), sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	c := resolve(t, builderFor(a), target)
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
	a.put(sliceOf("rng-1", 8081))
	c.wantEndpoints(t, "10.0.0.2:8081")
}

func TestADeletedSliceTakesItsEndpointsAway(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")), sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	c := resolve(t, builderFor(a), target)
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
	a.remove("rng-2")
	c.wantEndpoints(t, "10.0.0.1:8081")
	a.remove("rng-1")
	c.wantEndpoints(t)
	c.wantError(t, `"rng"`, `"prod"`, "no EndpointSlice")
	a.put(sliceOf("rng-3", 8081, pod("c", "10.0.0.3")))
	c.wantEndpoints(t, "10.0.0.3:8081")
}

func TestAnExpiredVersionIsResumed(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	a.set(func() { a.noState = true }) // so that the list is followed by a watch of a version
	a.set(func() { a.gone = true })
	c := resolve(t, builderFor(a), target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	eventually(t, "a second list", func() bool { return a.count("list") >= 2 })
	a.put(sliceOf("rng-1", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2")))
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
	if last, n := c.reported(); n > 0 {
		t.Errorf("it was told as an error: %s", last)
	}
}

// advance moves an injected clock on, a little whenever someone waits for it, until something is so. It returns how long
// that took by the clock.
func advance(t *testing.T, clock *clocktesting.FakeClock, what string, f func() bool) time.Duration {
	t.Helper()
	began := clock.Now()
	eventually(t, what, func() bool {
		if f() {
			return true
		}
		clock.Step(100 * time.Millisecond)
		return false
	})
	return clock.Since(began)
}

func clockedBuilder(a *api, clock *clocktesting.FakeClock) resolver.Builder {
	return NewBuilder(Config{REST: &rest.Config{Host: a.URL}, Namespace: "prod", Clock: clock, Logger: slog.New(slog.DiscardHandler)})
}

func TestClosedWatchesAreResumedWithoutAStorm(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	clock := clocktesting.NewFakeClock(time.Now())
	c := resolve(t, clockedBuilder(a, clock), target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	var took time.Duration
	for i := range 20 {
		eventually(t, "a watch", func() bool { return a.watchers() == 1 })
		before := a.count("watch")
		a.endWatches()
		took += advance(t, clock, "the next watch", func() bool { return a.count("watch") > before && a.watchers() == 1 })
		if n := a.count("watch") - before; n > 2 {
			t.Fatalf("closing %d: %d watches in place of one", i, n)
		}
	}
	if took < 10*time.Second || took > 60*time.Second {
		t.Errorf("20 closed watches took %v, want from 10 to 60 s", took)
	}
	a.put(sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
	if last, n := c.reported(); n > 0 {
		t.Errorf("they were told as an error: %s", last)
	}
}

func TestWatchesThatEndBeforeTheStateAreNoStorm(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	clock := clocktesting.NewFakeClock(time.Now())
	c := resolve(t, clockedBuilder(a, clock), target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	eventually(t, "a watch", func() bool { return a.watchers() == 1 })

	a.set(func() { a.hasty = true })
	a.endWatches()
	requests := a.count("list") + a.count("watch")
	started := clock.Now()
	advance(t, clock, "60 s", func() bool { return clock.Since(started) >= 60*time.Second })
	requests = a.count("list") + a.count("watch") - requests
	// A turn is a watch, the list after it, which brings the state, and the next watch.
	if requests < 9 || requests > 60 {
		t.Errorf("%d requests in 60 s", requests)
	}

	a.put(sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	a.set(func() { a.hasty = false })
	advance(t, clock, "the change", func() bool { return a.watchers() == 1 })
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
}

func TestAnOutageLeavesTheLastEndpoints(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	clock := clocktesting.NewFakeClock(time.Now())
	c := resolve(t, clockedBuilder(a, clock), target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	eventually(t, "a watch", func() bool { return a.watchers() == 1 })

	a.goDown(true)
	requests := a.count("list") + a.count("watch")
	started := clock.Now()
	advance(t, clock, "60 s", func() bool { return clock.Since(started) >= 60*time.Second })
	c.wantError(t, `"rng"`, `"prod"`, "no answer from the API server")
	requests = a.count("list") + a.count("watch") - requests
	// Two a turn: a watch that broke without an answer, and the list after it, which tells why.
	if requests < 4 || requests > 40 {
		t.Errorf("%d requests in 60 s", requests)
	}
	if n := c.updates(); n != 1 {
		t.Errorf("%d states, want the first one only", n)
	}

	a.put(sliceOf("rng-1", 8081, pod("b", "10.0.0.2")))
	a.goDown(false)
	took := advance(t, clock, "the state after the outage", func() bool { return c.updates() == 2 })
	if took > 20*time.Second {
		t.Errorf("the watch was back after %v", took)
	}
	c.wantEndpoints(t, "10.0.0.2:8081")
}

func TestAClosedPortIsNotAskedTwiceATurn(t *testing.T) {
	a := newAPI(t)
	a.Close()
	c := resolve(t, builderFor(a), target)
	c.wantError(t, "no answer from the API server", "connection refused", `"rng"`, `"watch"`)
}

func TestASilentServerIsTold(t *testing.T) {
	a := newAPI(t)
	a.set(func() { a.silent = true })
	clock := clocktesting.NewFakeClock(time.Now())
	c := resolve(t, clockedBuilder(a, clock), target)
	took := advance(t, clock, "an error", func() bool { _, n := c.reported(); return n > 0 })
	c.wantError(t, "no answer from the API server", "not within 10s")
	if took < firstAnswer {
		t.Errorf("after %v", took)
	}
}

func TestWhatIsDeniedIsNamed(t *testing.T) {
	for _, each := range []struct {
		name   string
		status map[string]int
		want   []string
	}{
		{"both verbs", map[string]int{"list": 403, "watch": 403}, []string{`denies "list" and "watch" on "endpointslices.discovery.k8s.io"`, "grant list and watch"}},
		{"only list, of a server without WatchList", map[string]int{"list": 403}, []string{`denies "list" on "endpointslices.discovery.k8s.io"`}},
		{"only watch, which leaves the list", map[string]int{"watch": 403}, []string{`denies "watch" on "endpointslices.discovery.k8s.io"`}},
		{"credentials", map[string]int{"list": 401, "watch": 401}, []string{"credentials", "token"}},
		{"namespace", map[string]int{"list": 404, "watch": 404}, []string{"does not find"}},
		{"too busy", map[string]int{"watch": 429}, []string{"no answer from the API server"}},
		{"out of order", map[string]int{"watch": 500, "list": 500}, []string{"no answer from the API server"}},
		{"something else", map[string]int{"watch": 418}, []string{"refuses"}},
	} {
		t.Run(each.name, func(t *testing.T) {
			a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
			a.set(func() { a.status, a.noState = each.status, true })
			c := resolve(t, builderFor(a), target)
			c.wantError(t, append(each.want, `service "rng" in namespace "prod"`)...)
			if each.status["list"] != 0 && c.endpoints() != nil {
				t.Errorf("a state without a list: %v", c.endpoints())
			}
			a.set(func() { a.status = map[string]int{} })
			c.wantEndpoints(t, "10.0.0.1:8081")
		})
	}
}

func TestAServiceThatIsNotThereIsNamed(t *testing.T) {
	a := newAPI(t)
	c := resolve(t, builderFor(a), target)
	c.wantError(t, `service "rng" in namespace "prod" has no EndpointSlice`)
	a.put(sliceOf("rng-1", 8081))
	c.wantError(t, `service "rng" in namespace "prod" has no ready endpoint`)
	a.put(sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	c.wantEndpoints(t, "10.0.0.1:8081")
}

func TestARenamedPortLeavesTheLastEndpoints(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	c := resolve(t, builderFor(a), target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	renamed := sliceOf("rng-1", 9090, pod("a", "10.0.0.1"))
	*renamed.Ports[0].Name = "rpc"
	a.put(renamed)
	c.wantError(t, `"rng"`, `has no port "grpc": there are rpc (9090)`)
	c.wantEndpoints(t, "10.0.0.1:8081")
	a.put(sliceOf("rng-1", 9090, pod("a", "10.0.0.1")))
	c.wantEndpoints(t, "10.0.0.1:9090")
}

func TestARotatedTokenIsUsed(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	a.set(func() { a.token = "first" })
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c := resolve(t, NewBuilder(Config{
		REST: &rest.Config{Host: a.URL, BearerTokenFile: file}, Namespace: "prod", Logger: slog.New(slog.DiscardHandler),
	}), target)
	c.wantEndpoints(t, "10.0.0.1:8081")

	a.set(func() { a.token = "second" })
	write("second")
	a.endWatches()
	eventually(t, "a watch with the new token", func() bool { return a.watchers() == 1 && a.count("watch") > 1 })
	a.put(sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
}

func TestChannelsToAServiceShareAWatch(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	b := builderFor(a)
	c := resolve(t, b, target)
	c.wantEndpoints(t, "10.0.0.1:8081")
	late := resolve(t, b, "endpointslice://prod/rng:8081")
	late.wantEndpoints(t, "10.0.0.1:8081")
	other := resolve(t, b, "endpointslice:///rng:http")
	other.wantError(t, `has no port "http"`)
	if n := a.count("watch"); n != 1 {
		t.Errorf("%d watches, want one", n)
	}
	elsewhere := resolve(t, builderFor(a), target)
	elsewhere.wantEndpoints(t, "10.0.0.1:8081")
	if n := a.count("watch"); n != 2 {
		t.Errorf("%d watches of two builders", n)
	}
}

func TestTheLastChannelEndsTheWatch(t *testing.T) {
	a := newAPI(t, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
	b := builderFor(a)
	var all []resolver.Resolver
	c := newConn()
	for range 3 {
		r, err := b.Build(targetOf(t, target), c, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	eventually(t, "a watch", func() bool { return a.watchers() == 1 && c.updates() == 3 })
	all[0].Close()
	all[1].Close()
	if a.watchers() != 1 {
		t.Fatal("the watch ended while it was in use")
	}
	all[2].Close()
	eventually(t, "no watch", func() bool { return a.watchers() == 0 })
	a.put(sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
	if n := c.updates(); n != 3 {
		t.Errorf("an update after Close")
	}
	again := resolve(t, b, target)
	again.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
}

func TestCloseDoesNotWaitForABackoff(t *testing.T) {
	a := newAPI(t)
	a.set(func() {
		a.status = map[string]int{"list": http.StatusTooManyRequests, "watch": http.StatusTooManyRequests}
	})
	clock := clocktesting.NewFakeClock(time.Now()) // which stands still
	b := clockedBuilder(a, clock)
	c := newConn()
	r, err := b.Build(targetOf(t, target), c, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.wantError(t, "no answer from the API server")
	r.ResolveNow(resolver.ResolveNowOptions{})
	r.Close()
}

func TestTheLogTellsOfAnErrorOnce(t *testing.T) {
	a := newAPI(t)
	a.set(func() { a.status = map[string]int{"list": 403, "watch": 403} })
	var out syncBuffer
	clock := clocktesting.NewFakeClock(time.Now())
	c := resolve(t, NewBuilder(Config{
		REST: &rest.Config{Host: a.URL}, Namespace: "prod", Clock: clock, Logger: slog.New(slog.NewTextHandler(&out, nil)),
	}), target)
	c.wantError(t, `"list" and "watch"`)
	_, before := c.reported()
	advance(t, clock, "more errors", func() bool { _, n := c.reported(); return n > before+4 })
	a.set(func() { a.status = map[string]int{} })
	advance(t, clock, "the end of the errors", func() bool { last, _ := c.reported(); return strings.Contains(last, "no EndpointSlice") })
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{`\"list\" and \"watch\"`, "again", "no EndpointSlice"} {
		if len(lines) != 3 || !strings.Contains(lines[i], want) {
			t.Fatalf("want 3 lines, line %d with %s:\n%s", i+1, want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "service=rng") || !strings.Contains(line, "namespace=prod") {
			t.Errorf("a line of something else: %s", line)
		}
	}
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
