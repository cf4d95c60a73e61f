package up_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scenario"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
	"github.com/evenkeel/evenkeel/tools/lab/up"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is an environment that takes down what is done to it.
type stage struct {
	client string

	mu    sync.Mutex
	acted []string
	fails error
	lives []scorecard.Life
}

func (s *stage) Kind() string { return "local" }

func (s *stage) Act(_ context.Context, overlays []*render.Overlay, service string, p scenario.Phase) (func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, o := range overlays {
		names = append(names, o.Name)
	}
	act := fmt.Sprintf("%s/%s: %s", strings.Join(names, "+"), service, p.Action())
	s.acted = append(s.acted, act)

	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.acted = append(s.acted, "no more "+act)

		return nil
	}, s.fails
}

func (s *stage) Client(*render.Overlay) (string, *http.Client, error) {
	return s.client, http.DefaultClient, nil
}

func (s *stage) Lives(*render.Overlay) []scorecard.Life {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.lives
}

// did is what was done since it was last asked.
func (s *stage) did() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	acted := s.acted
	s.acted = nil

	return acted
}

// fixture is a board of two overlays, one of which runs with a component.
type fixture struct {
	*testing.T
	*stage
	board *httptest.Server
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	client := http.NewServeMux()
	client.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"services": [{"service": "geoip", "target": "x"},
			{"service": "rng", "target": "dns:///rng:8081", "serviceConfig": "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}"}]}`)
	})
	client.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "live page for "+r.Host) })
	client.HandleFunc("POST /control", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "controlled") })
	client.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	behind := httptest.NewServer(client)
	t.Cleanup(behind.Close)
	s := &stage{client: behind.URL}
	var overlays []up.Overlay
	for _, name := range []string{"clusterip", "endpointslice+retries"} {
		overlays = append(overlays, up.Overlay{About: "About " + name + ".", Overlay: &render.Overlay{
			Name: name, Namespace: strings.ReplaceAll(name, "+", "-"),
			Deployments: map[string]*appsv1.Deployment{"rng": {Spec: appsv1.DeploymentSpec{Replicas: new(int32(3))}}},
		}})
	}
	board, err := up.New(t.Context(), s, overlays, up.Options{
		Cannot: map[string]string{"drain-node": "there is one"}, MaxPods: 20, Log: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- board.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the board ended with %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})

	return &fixture{T: t, stage: s, board: &httptest.Server{URL: "http://" + listener.Addr().String()}}
}

// ask makes a request, with headers as pairs of a name and a value.
func (f *fixture) ask(method, host, path, body string, headers ...string) (status int, text string, header http.Header) {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, f.board.URL+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	if host != "" {
		request.Host = host
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}

	return response.StatusCode, string(answer), response.Header
}

func (f *fixture) step(body string) (status int, text string) {
	f.Helper()
	status, text, _ = f.ask(http.MethodPost, "", "/step", body)

	return status, text
}

// state is GET /state, in as far as tests are about it.
type state struct {
	Overlays []struct {
		Name                               string
		Replicas, Ready, Starting, Leaving int
		DNSDown                            bool
		Updating                           bool
		Updated                            int
		Faults                             []string
	}
	APIServerDown bool
	Steps         []struct{ Overlay, Action, Problem string }
}

func (f *fixture) state() state {
	f.Helper()
	_, text, _ := f.ask(http.MethodGet, "", "/state", "")
	var s state
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		f.Fatalf("%s: %v", text, err)
	}

	return s
}
