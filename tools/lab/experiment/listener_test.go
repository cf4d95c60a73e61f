package experiment

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent is a progress that nobody follows.
type silent struct{}

func (silent) Step(string)                {}
func (silent) Phase(int, scenario.Phase)  {}
func (silent) Count(string, int64, int64) {}

// listenerOf listens to a client that a test plays.
func listenerOf(server *httptest.Server) *listener {
	return &listener{
		overlay: "o", base: server.URL, http: server.Client(), progress: silent{},
		first: make(chan struct{}), last: map[string]time.Time{},
	}
}

func TestAStreamThatBreaksOffGoesOnWhereItDidAndWhatIsMissingIsNoted(t *testing.T) {
	begun := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	frame := func(tenth int) string {
		at := begun.Add(time.Duration(tenth) * 100 * time.Millisecond).Format(time.RFC3339Nano)

		return fmt.Sprintf(`{"service": "rng", "start": %q, "seconds": 0.1, "rpcs": 1}`+"\n", at)
	}
	answers := []string{
		frame(0) + frame(1),            // and it breaks off
		frame(1) + frame(2) + frame(3), // all that was missed; it breaks off again
		frame(9),                       // another client, which knows nothing of what was before it
	}
	queries := make(chan string, len(answers))
	client := http.NewServeMux()
	client.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	client.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(answers[len(queries)]))
		queries <- r.FormValue("since")
		if len(queries) == len(answers) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})
	server := httptest.NewServer(client)
	defer server.Close()
	l := listenerOf(server)
	ctx, stop := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	listening.Go(func() { l.listen(ctx) })
	for len(l.frames()["rng"]) < 5 {
		if sleep(t.Context(), time.Millisecond) != nil {
			t.Fatal("five frames never come")
		}
	}
	stop()
	listening.Wait()

	if len(l.frames()["rng"]) != 5 {
		t.Errorf("%d frames", len(l.frames()["rng"]))
	}
	want := []string{"", "2026-01-01T12:00:00.1Z", "2026-01-01T12:00:00.3Z"}
	for i := range want {
		if got := <-queries; got != want[i] {
			t.Errorf("request %d asks for what was since %q, not %q", i, got, want[i])
		}
	}
	if diff := cmp.Diff([]string{"o: the client's report of rng lacks 0.5 s before 12:00:00."}, l.notes()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheClientSaysOfItsStrategyItsKeysAndItsFramesIsTaken(t *testing.T) {
	client := http.NewServeMux()
	client.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"services": [
			{"service": "rng", "target": "rng:1", "serviceConfig": "{}", "keys": {"distribution": "zipf", "count": 300, "skew": 1.1, "header": "x-user-id"}},
			{"service": "geoip", "target": "geoip:1", "serviceConfig": ""}]}`))
	})
	ended := make(chan struct{})
	client.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"service": "rng", "rpcs": 3, "pods": [{"name": "a", "rpcs": 3, "keys": {"0": 2, "299": 1}}]}` + "\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	})
	server := httptest.NewServer(client)
	defer server.Close()
	l := listenerOf(server)
	ctx, stop := context.WithCancel(t.Context())
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		l.listen(ctx)
	}()
	if err := l.awaitFirst(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	stop()
	<-listened
	<-ended

	want := strategy{
		Target: "rng:1", ServiceConfig: "{}",
		Keys: &results.Keys{Distribution: "zipf", Count: 300, Skew: 1.1, Header: "x-user-id"},
	}
	if diff := cmp.Diff(want, l.strategy("rng")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(strategy{Target: "geoip:1"}, l.strategy("geoip")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[int]int64{0: 2, 299: 1}, l.frames()["rng"][0].Pods[0].Keys); diff != "" {
		t.Error(diff)
	}
}

func TestAClientThatWasStartedAgainDoesNotHideThatItsLoadWasChanged(t *testing.T) {
	reports := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(<-reports))
	}))
	defer server.Close()
	l := listenerOf(server)
	reports <- `{"services": [{"service": "rng", "changedByHand": true}, {"service": "geoip", "changedByHand": true}]}`
	reports <- `{"services": [{"service": "rng"}, {"service": "geoip"}]}`
	l.readLast(t.Context())
	l.readLast(t.Context())

	want := []string{
		"o: somebody changed the load of geoip by hand while it ran: its figures are not of the scenario's load.",
		"o: somebody changed the load of rng by hand while it ran: its figures are not of the scenario's load.",
	}
	if diff := cmp.Diff(want, l.notes()); diff != "" {
		t.Error(diff)
	}
}

func TestALastReportThatIsMissingIsNoted(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	l := listenerOf(server)
	l.readLast(t.Context())

	want := []string{"o: its client's last report is missing, which says whether its load was changed by hand: " +
		server.URL + "/report answers 404 Not Found."}
	if diff := cmp.Diff(want, l.notes()); diff != "" {
		t.Error(diff)
	}
}
