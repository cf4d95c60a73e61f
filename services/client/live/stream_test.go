package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/client/live"
)

// stream is a page's connection.
type stream struct {
	*testing.T

	body  io.ReadCloser
	lines *bufio.Scanner
	id    string
}

// listen opens the stream; id is what the page had before.
func (w *world) listen(id string) *stream {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.Cleanup(http.DefaultClient.CloseIdleConnections)
	w.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"/live", http.NoBody)
	if err != nil {
		w.Fatal(err)
	}
	if id != "" {
		request.Header.Set("Last-Event-ID", id)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		w.Fatalf("%s %v", response.Status, response.Header)
	}
	s := &stream{T: w.T, body: response.Body, lines: bufio.NewScanner(response.Body)}
	s.lines.Buffer(nil, 16<<20)

	return s
}

// next is the next update; nil at the end of the stream.
func (s *stream) next() *live.Update {
	s.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			s.id = id
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var u live.Update
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				s.Fatal(err)
			}

			return &u
		}
	}
	if err := s.lines.Err(); err != nil {
		s.Fatal(err)
	}

	return nil
}

// until reads a stream from its beginning until all that it says meets a condition, and returns that.
func (w *world) until(what string, met func(*live.ServiceUpdate) bool) *live.ServiceUpdate {
	w.Helper()
	s := w.listen("")
	all := s.next().Services[0]
	for deadline := time.Now().Add(30 * time.Second); !met(&all); {
		if time.Now().After(deadline) {
			w.Fatalf("never %s: %s, %+v\n%+v", what, all.Finding, all.Lanes, all.Events)
		}
		u := s.next()
		if u == nil {
			w.Fatalf("the stream ended without %s", what)
		}
		all = merge(&all, &u.Services[0])
	}
	_ = s.body.Close()

	return &all
}

// merge does what the page does: columns and events replace those of the same number.
func merge(all, news *live.ServiceUpdate) live.ServiceUpdate {
	columns, events := map[int64]int{}, map[int64]int{}
	for i, c := range all.Columns {
		columns[c.Second] = i
	}
	for i, e := range all.Events {
		events[e.ID] = i
	}
	sum := *news
	sum.Columns, sum.Events = all.Columns, all.Events
	for _, c := range news.Columns {
		if i, ok := columns[c.Second]; ok {
			sum.Columns[i] = c
		} else {
			sum.Columns = append(sum.Columns, c)
		}
	}
	for _, e := range news.Events {
		if i, ok := events[e.ID]; ok {
			sum.Events[i] = e
		} else {
			sum.Events = append(sum.Events, e)
		}
	}

	return sum
}

// happened counts the events of a kind.
func happened(u *live.ServiceUpdate, kind string) int {
	n := 0
	for _, e := range u.Events {
		if e.Kind == kind {
			n++
		}
	}

	return n
}

func rpcs(u *live.ServiceUpdate) (n int64) {
	for _, c := range u.Columns {
		n += c.RPCs
	}

	return n
}

func TestTheStreamShowsPodsTheirSharesAndTheirConnections(t *testing.T) {
	w := newWorld(t, 3, 100, "round_robin")
	u := w.until("three pods with even shares", func(u *live.ServiceUpdate) bool { return u.Kind == "even" && rpcs(u) > 100 })
	if len(u.Lanes) != 3 || u.State != "READY" || happened(u, "added") != 3 || happened(u, "opened") != 3 || u.Figures.Failed != 0 {
		t.Errorf("%d lanes, channel %s, %d failed, %+v", len(u.Lanes), u.State, u.Figures.Failed, u.Events)
	}
	var sum float64
	for i, l := range u.Lanes {
		if !strings.HasPrefix(l.Name, "rng-5d8f9c-00") || l.State != "READY" || !l.Known || l.Shared || len(l.Spans) != 1 || l.RPS == 0 {
			t.Errorf("lane %d: %+v", i, l)
		}
		sum += l.Share
	}
	if sum < 0.999 || sum > 1.001 {
		t.Errorf("the shares make %v", sum)
	}
	if want := "3 pods get even shares (max/mean 1."; !strings.HasPrefix(u.Finding, want) {
		t.Errorf("%q, want %s", u.Finding, want)
	}
}

func TestPickFirstShowsThatOnePodOfThoseThatAreKnownGetsEverything(t *testing.T) {
	w := newWorld(t, 3, 200, "pick_first")
	u := w.until("one of three", func(u *live.ServiceUpdate) bool { return u.Kind == "one-of-many" })
	if u.Finding != "1 pod of 3 that are known gets everything." {
		t.Error(u.Finding)
	}
}

func TestARollingUpdateShowsEveryChangeAndNoFailedRPC(t *testing.T) {
	w := newWorld(t, 3, 100, "round_robin")
	w.until("traffic on all", func(u *live.ServiceUpdate) bool { return u.Kind == "even" })
	for range 3 {
		w.replace(w.pods[0])
	}
	u := w.until("six pods, three of them gone", func(u *live.ServiceUpdate) bool {
		return happened(u, "added") == 6 && happened(u, "removed") == 3 && happened(u, "opened") == 6 &&
			happened(u, "goaway")+happened(u, "closed") == 3 && happened(u, "goaway") > 0 && u.Lanes[5].RPS > 0
	})
	if u.Figures.Failed != 0 || happened(u, "error") != 0 || len(u.Lanes) != 6 {
		t.Errorf("%d failed, %d lanes, %+v", u.Figures.Failed, len(u.Lanes), u.Events)
	}
	for i, l := range u.Lanes {
		if l.Known != (i >= 3) || (l.Spans[0].To == 0) != l.Known {
			t.Errorf("lane %d: %+v", i, l)
		}
	}
	for _, e := range u.Events {
		if e.Kind == "goaway" && e.Text != "GOAWAY NO_ERROR" {
			t.Errorf("%+v", e)
		}
	}
}

func TestFailuresAreShownWhereAndWhenTheyHappen(t *testing.T) {
	w := newWorld(t, 2, 200, "round_robin")
	w.pods[0].fail.Store(true)
	u := w.until("half of it failing", func(u *live.ServiceUpdate) bool { return u.Kind == "one-of-many-failing" && u.Figures.Failed > 100 })
	if !strings.Contains(u.Finding, "% of RPCs fail (INTERNAL)") {
		t.Error(u.Finding)
	}
	failed := map[string]int64{}
	for _, l := range u.Lanes {
		failed[l.Name] = l.Failed
	}
	if failed["rng-5d8f9c-001"] == 0 || failed["rng-5d8f9c-002"] != 0 {
		t.Errorf("%v", failed)
	}
	for _, e := range u.Events {
		if e.Kind == "error" && (e.Count == 0 || e.Text != "INTERNAL: the <b>dice</b> are loaded") {
			t.Errorf("%+v", e)
		}
	}
	w.pods[1].fail.Store(true)
	w.until("all of it failing", func(u *live.ServiceUpdate) bool {
		return u.Kind == "failing" && strings.HasPrefix(u.Finding, "Every RPC fails (INTERNAL): ")
	})
}

func TestAStreamThatIsTakenUpAgainGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, 1, 200, "round_robin")
	s := w.listen("")
	all := s.next().Services[0]
	for rpcs(&all) < 300 {
		all = merge(&all, &s.next().Services[0])
	}
	_ = s.body.Close()

	again := w.listen(s.id)
	u := again.next()
	if u.Reset || happened(&u.Services[0], "added") != 0 || len(u.Services[0].Columns) > 3 {
		t.Errorf("all is said again: %+v", u)
	}
	// What was missed comes, and nothing twice: a second's column replaces the one before.
	all = merge(&all, &u.Services[0])
	for range 2 {
		all = merge(&all, &again.next().Services[0])
	}
	whole := w.until("the same", func(*live.ServiceUpdate) bool { return true })
	of := map[int64]int64{}
	for _, c := range whole.Columns {
		of[c.Second] = c.RPCs
	}
	for _, c := range all.Columns {
		if c.Second < all.Complete-1 && of[c.Second] != c.RPCs {
			t.Errorf("second %d has %d RPCs, and %d for a page that was never away", c.Second, c.RPCs, of[c.Second])
		}
	}
	for _, id := range []string{"0-1", "nonsense", fmt.Sprint(again.id, "999999"), strings.Split(s.id, "-")[0] + "--1"} {
		if u := w.listen(id).next(); !u.Reset {
			t.Errorf("id %q is believed", id)
		}
	}
}

func TestTheEndOfTheClientEndsTheStreamsAtOnce(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	s := w.listen("")
	s.next()
	begun := time.Now()
	w.end()
	for s.next() != nil {
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestReadersAreBoundedAndOneThatLeavesMakesRoom(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	var readers []*stream
	for range 32 {
		s := w.listen("")
		s.next()
		readers = append(readers, s)
	}
	response, err := http.Get(w.base + "/live")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s", response.Status)
	}
	_ = readers[0].body.Close()
	for code := 0; code != http.StatusOK; {
		// The handler hears of it when it next writes.
		readers[1].next()
		again, err := http.Get(w.base + "/live")
		if err != nil {
			t.Fatal(err)
		}
		_ = again.Body.Close()
		code = again.StatusCode
	}
}

func TestThePageWithoutScriptsHasThePodsAndQuotesWhatServersSay(t *testing.T) {
	w := newWorld(t, 2, 200, "round_robin")
	for _, p := range w.pods {
		p.fail.Store(true)
	}
	w.until("errors", func(u *live.ServiceUpdate) bool { return u.Kind == "failing" })
	response, err := http.Get(w.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<h2>rng</h2>", "rng-5d8f9c-001", w.pods[1].address, "READY", "round_robin", "the &lt;b&gt;dice", `http-equiv="refresh"`, `name="viewport"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s on the page", want)
		}
	}
	for _, other := range []string{"http://", "https://", "//cdn", "the <b>dice"} {
		if strings.Contains(string(text), other) {
			t.Errorf("%s on the page", other)
		}
	}
	if csp := response.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "connect-src 'self'") {
		t.Errorf("policy %q", csp)
	}
}
