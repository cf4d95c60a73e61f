package apiserver_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// recorder is a ResponseWriter for use inside a synctest bubble, where sockets cannot be.
type recorder struct {
	mu     sync.Mutex
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code = code
}
func (r *recorder) Flush() {}
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(p)
}

func (r *recorder) lines(t *testing.T) (events []event) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.body.String()) {
		e, err := parseEvent([]byte(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// serve answers a request in this bubble; done is closed when the answer is complete.
func serve(t *testing.T, s *apiserver.Server, token, path string) (*recorder, <-chan struct{}) {
	t.Helper()
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"Authorization": {"Bearer " + token}}}
	answer, done := &recorder{header: http.Header{}}, make(chan struct{})
	go func() {
		defer close(done)
		s.ServeHTTP(answer, r.WithContext(t.Context()))
	}()
	return answer, done
}

func newBubble(t *testing.T) (*apiserver.Store, *apiserver.Server, string) {
	t.Helper()
	store := apiserver.NewStore()
	s := apiserver.NewServer(store, apiserver.Options{})
	grant(t, store, "ns", "reader", everything)
	return store, s, s.IssueToken("ns", "reader")
}

func TestBookmarksComeEachMinuteAndBeforeTheEndIfAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s, token := newBubble(t)
		put(t, store, pod("a", nil))
		asked, done := serve(t, s, token, fromNow+"4&allowWatchBookmarks=true&timeoutSeconds=150")
		quiet, quietDone := serve(t, s, token, fromNow+"4&timeoutSeconds=150")
		<-time.After(61 * time.Second) // of the bubble's clock
		put(t, store, configMap("ns", "a"), configMap("ns", "b"))
		<-done
		<-quietDone
		var got []string
		for _, e := range asked.lines(t) {
			if e.Object.Kind != "Pod" || len(e.Object.Metadata.Annotations) > 0 {
				t.Errorf("got %s", e.raw)
			}
			got = append(got, e.Type+" "+e.Object.Metadata.ResourceVersion)
		}
		if want := "BOOKMARK 4, BOOKMARK 6, BOOKMARK 6"; strings.Join(got, ", ") != want {
			t.Errorf("in 150 s got %v, want %s: at 60, 120 and 148 s", got, want)
		}
		if lines := quiet.lines(t); len(lines) != 0 {
			t.Errorf("a watch that asked for none got %s", lines[0].raw)
		}
	})
}

func TestAWatchEndsAtItsTimeout(t *testing.T) {
	for query, want := range map[string][2]time.Duration{
		"&timeoutSeconds=7":                    {7 * time.Second, 7 * time.Second},
		"&timeoutSeconds=0":                    {30 * time.Minute, time.Hour},
		"":                                     {30 * time.Minute, time.Hour},
		"&timeoutSeconds=9223372036854775807":  {24 * time.Hour, 24 * time.Hour},
		"&timeoutSeconds=-9223372036854775808": {0, 0},
		"&timeoutSeconds=-1":                   {0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, s, token := newBubble(t)
			start := time.Now()
			_, done := serve(t, s, token, podsPath+"?watch=1"+query)
			<-done
			if took := time.Since(start); took < want[0] || took > want[1] {
				t.Errorf("%q: ended after %v, want %v to %v", query, took, want[0], want[1])
			}
		})
	}
}

func TestAReadWaitsForARevisionFromTheFutureAndThenGivesUp(t *testing.T) {
	for _, path := range []string{
		podsPath + "?resourceVersion=1000", podsPath + "/a?resourceVersion=1000",
		podsPath + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1000",
	} {
		synctest.Test(t, func(t *testing.T) {
			_, s, token := newBubble(t)
			start := time.Now()
			answer, done := serve(t, s, token, path)
			<-done
			body := answer.body.String()
			if took := time.Since(start); took != 3*time.Second || !strings.Contains(body, `Too large resource version: 1000, current: 3`) ||
				!strings.Contains(body, `"reason":"Timeout"`) || !strings.Contains(body, `"causes":[{"reason":"ResourceVersionTooLarge"`) {
				t.Errorf("%s: after %v: %s", path, took, body)
			}
			if isWatch := strings.Contains(path, "watch"); !isWatch && (answer.code != http.StatusGatewayTimeout || answer.header.Get("Retry-After") != "1") {
				t.Errorf("%s: HTTP %d, Retry-After %q", path, answer.code, answer.header.Get("Retry-After"))
			}
		})
		synctest.Test(t, func(t *testing.T) {
			store, s, token := newBubble(t)
			answer, done := serve(t, s, token, strings.Replace(path, "1000", "4", 1)+"&timeoutSeconds=1")
			synctest.Wait()
			put(t, store, pod("a", nil))
			<-done
			if !strings.Contains(answer.body.String(), `"name":"a"`) {
				t.Errorf("%s: got %s", path, answer.body.String())
			}
		})
	}
}

func TestAWatchFromTheFutureSkipsWhatIsBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s, token := newBubble(t)
		answer, done := serve(t, s, token, fromNow+"5&timeoutSeconds=60")
		synctest.Wait()
		put(t, store, pod("a", nil), pod("b", nil), pod("c", nil))
		<-done
		if events := answer.lines(t); len(events) != 1 || events[0].Object.Metadata.Name != "c" {
			t.Errorf("got %d events in %s, want only c at revision 6", len(events), answer.body.String())
		}
	})
}
