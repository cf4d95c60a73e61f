package experiment

import (
	"context"
	"net/http"
	"net/http/httptest"
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
	l := &listener{overlay: "o", base: server.URL, http: server.Client(), progress: silent{}, first: make(chan struct{})}
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
