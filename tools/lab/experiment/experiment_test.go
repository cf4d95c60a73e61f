package experiment

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// fake is an environment of which nothing is real but the client's words. While the scenario runs, somebody uses the
// client's page.
type fake struct{ touched atomic.Bool }

func (*fake) Kind() string                                                { return "local" }
func (*fake) Cluster(context.Context) (*results.Cluster, error)           { return nil, nil }
func (*fake) Start(context.Context, []*render.Overlay, string, int) error { return nil }
func (f *fake) Client(*render.Overlay) (string, *http.Client, error) {
	return "http://client", &http.Client{Transport: f}, nil
}
func (*fake) Lives(*render.Overlay) []scorecard.Life { return nil }
func (*fake) Usage(*render.Overlay) scorecard.Usage  { return scorecard.Usage{} }
func (*fake) Notes() []string                        { return []string{"of the environment"} }
func (*fake) Failed() <-chan struct{}                { return nil }
func (*fake) Err() error                             { return nil }

func (f *fake) Act(context.Context, []*render.Overlay, string, scenario.Phase) (func() error, error) {
	f.touched.Store(true)

	return nil, nil
}

// RoundTrip answers as the client does.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	report := `{"services": [{"service": "rng"}, {"service": "geoip"}]}`
	if f.touched.Load() {
		report = `{"services": [{"service": "rng", "changedByHand": true}, {"service": "geoip"}]}`
	}
	body := io.NopCloser(strings.NewReader(report))
	if r.URL.Path == "/events" {
		body = endless(r.Context(), `{"service": "rng", "seconds": 0.1, "rpcs": 1}`+"\n")
	}

	return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
}

// endless is a body that has something at once, and ends with its request.
func endless(ctx context.Context, text string) io.ReadCloser {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { _ = writer.CloseWithError(context.Cause(ctx)) })
	go func() { _, _ = io.WriteString(writer, text) }()

	return reader
}

func TestALoadThatIsChangedByHandDuringTheScenarioIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := Experiment{
			Environment: &fake{},
			Scenario: &scenario.Scenario{
				Service: "rng", Load: map[string]float64{"rng": 10, "geoip": 1},
				Phases: []scenario.Phase{{Name: "steady", For: time.Second}},
			},
			Overlays: []*render.Overlay{{Name: "clusterip"}},
			Progress: silent{},
		}
		out, err := e.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"clusterip: somebody changed the load of rng by hand while it ran: its figures are not of the scenario's load.", "of the environment"}
		// What the machine is doing meanwhile may be noted after these.
		if len(out.Notes) < len(want) || !slices.Equal(out.Notes[:len(want)], want) {
			t.Errorf("notes: %q", out.Notes)
		}
	})
}
