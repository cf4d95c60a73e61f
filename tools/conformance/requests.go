package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// requests counts what a resolver asks of the API.
type requests struct {
	mu   sync.Mutex
	made int
	open []int     // numbers of those whose answer is neither read to its end nor given up
	last time.Time // when one was made, answered or over
}

// through counts the requests that go through a transport, refused ones too.
func (r *requests) through(next http.RoundTripper) http.RoundTripper {
	return &counting{requests: r, next: next}
}

type counting struct {
	requests *requests
	next     http.RoundTripper
}

// WrappedRoundTripper lets client-go find the transport whose idle connections it closes.
func (c *counting) WrappedRoundTripper() http.RoundTripper { return c.next }

// RoundTrip counts a request.
func (c *counting) RoundTrip(request *http.Request) (*http.Response, error) {
	number := c.requests.begin()
	over := sync.OnceFunc(func() { c.requests.over(number) })
	response, err := c.next.RoundTrip(request)
	if err != nil {
		over()

		return nil, err
	}
	c.requests.answered()
	// The transport ends a request whose context is done, whether or not the body is closed.
	context.AfterFunc(request.Context(), over)
	response.Body = &answer{ReadCloser: response.Body, over: over}

	return response, nil
}

func (r *requests) begin() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	r.open = append(r.open, r.made)
	r.last = time.Now()

	return r.made
}

func (r *requests) answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
}

func (r *requests) over(number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(open int) bool { return open == number })
	r.last = time.Now()
}

// lasted waits until one request, which must be a watch, has been open alone for so long.
func (r *requests) lasted(ctx context.Context, d, limit time.Duration) error {
	for start := time.Now(); ; pass(ctx, time.Millisecond) {
		r.mu.Lock()
		lasts := len(r.open) == 1 && time.Since(r.last) >= d
		r.mu.Unlock()
		if lasts {
			return nil
		}
		if time.Since(start) > limit || ctx.Err() != nil {
			return fmt.Errorf("no watch has lasted for %v", d)
		}
	}
}

// count is how many were made so far.
func (r *requests) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.made
}

// opened is how many are open, of the first so many.
func (r *requests) opened(first int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := 0
	for _, number := range r.open {
		if number <= first {
			open++
		}
	}

	return open
}

// end does what ends the requests that are open, and waits until the resolver has seen it: what changes afterwards
// cannot reach it by one of those.
func (r *requests) end(ctx context.Context, limit time.Duration, by func() error) error {
	made := r.count()
	if err := by(); err != nil {
		return err
	}
	for start := time.Now(); r.opened(made) > 0; {
		if time.Since(start) > limit || ctx.Err() != nil {
			return errors.New("a watch that the server ended is still open")
		}
		pass(ctx, time.Millisecond)
	}

	return nil
}

// answer is the body of a response that says when it is done with: closed, or read to its end.
type answer struct {
	io.ReadCloser

	over func()
}

// Read reads the body.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.over()
	}

	return n, err
}

// Close closes the body.
func (a *answer) Close() error {
	a.over()

	return a.ReadCloser.Close()
}
