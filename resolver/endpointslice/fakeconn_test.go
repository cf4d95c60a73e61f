package endpointslice

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"k8s.io/client-go/rest"
)

// conn stands in for a gRPC channel.
type conn struct {
	mu     sync.Mutex
	states []resolver.State
	errs   []error
	reject error
	told   chan struct{}
}

func newConn() *conn { return &conn{told: make(chan struct{}, 1)} }

func (c *conn) tell(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	select {
	case c.told <- struct{}{}:
	default:
	}
}

func (c *conn) UpdateState(s resolver.State) error {
	c.tell(func() { c.states = append(c.states, s) })
	return c.reject
}

func (c *conn) ReportError(err error) { c.tell(func() { c.errs = append(c.errs, err) }) }

func (c *conn) NewAddress([]resolver.Address) { panic("not used since 2021") }

func (c *conn) ParseServiceConfig(string) *serviceconfig.ParseResult { panic("there is none") }

// endpoints are those of the last state, as text; nil if there was no state.
func (c *conn) endpoints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.states) == 0 {
		return nil
	}
	return texts(c.states[len(c.states)-1].Endpoints)
}

func (c *conn) updates() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.states)
}

func (c *conn) reported() (last string, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) == 0 {
		return "", 0
	}
	return c.errs[len(c.errs)-1].Error(), len(c.errs)
}

func texts(endpoints []resolver.Endpoint) []string {
	all := []string{}
	for _, e := range endpoints {
		var addresses []string
		for _, a := range e.Addresses {
			addresses = append(addresses, a.Addr)
		}
		if len(addresses) > 0 { // else it stands for none
			all = append(all, strings.Join(addresses, "+"))
		}
	}
	return all
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !f() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (c *conn) wantEndpoints(t *testing.T, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	defer func() {
		if t.Failed() {
			last, n := c.reported()
			t.Logf("got %v, and %d errors, the last: %s", c.endpoints(), n, last)
		}
	}()
	eventually(t, fmt.Sprintf("endpoints %v", want), func() bool { return slices.Equal(c.endpoints(), want) && c.endpoints() != nil })
}

func (c *conn) wantError(t *testing.T, parts ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			last, _ := c.reported()
			t.Logf("got %q", last)
		}
	}()
	eventually(t, fmt.Sprintf("an error with %q", parts), func() bool {
		last, n := c.reported()
		return n > 0 && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(last, part) })
	})
}

func targetOf(t testing.TB, text string) resolver.Target {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return resolver.Target{URL: *u}
}

// resolve builds a target, and closes it at the end of the test.
func resolve(t *testing.T, b resolver.Builder, target string) *conn {
	t.Helper()
	c := newConn()
	r, err := b.Build(targetOf(t, target), c, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return c
}

func builderFor(a *api) resolver.Builder {
	return NewBuilder(Config{REST: &rest.Config{Host: a.URL}, Namespace: "prod", Logger: slog.New(slog.DiscardHandler)})
}
