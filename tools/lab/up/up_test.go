package up_test

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
	"github.com/evenkeel/evenkeel/tools/lab/up"
)

func TestAStepIsDoneToTheOverlayThatItNamesOrToEach(t *testing.T) {
	f := newFixture(t)
	if status, text := f.step(`{"overlay": "clusterip", "rollout": true}`); status != 200 || !strings.HasSuffix(text, " clusterip: roll out\n") {
		t.Errorf("%d %s", status, text)
	}
	if diff := cmp.Diff([]string{"clusterip/rng: roll out"}, f.did()); diff != "" {
		t.Error(diff)
	}
	f.step(`{"overlay": "all", "kill": 1}`)
	if did := f.did(); len(did) != 2 || !strings.Contains(strings.Join(did, ","), "endpointslice+retries/rng: SIGKILL 1 pod") {
		t.Errorf("%q", did)
	}
	s := f.state()
	if diff := cmp.Diff([]struct{ Overlay, Action, Problem string }{{"all", "SIGKILL 1 pod", ""}, {"clusterip", "roll out", ""}}, s.Steps); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsDownIsSoUntilItIsUpAndTwiceIsOnce(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		f.step(`{"overlay": "clusterip", "dns": "down", "delete": 1}`)
	}
	f.step(`{"overlay": "all", "api-server": "down"}`)
	want := []string{
		"clusterip/rng: DNS down", "clusterip/rng: delete 1 pod", "clusterip/rng: delete 1 pod",
		"clusterip+endpointslice+retries/rng: API server down",
	}
	if diff := cmp.Diff(want, f.did()); diff != "" {
		t.Error(diff)
	}
	if s := f.state(); !s.APIServerDown || !s.Overlays[0].DNSDown || s.Overlays[1].DNSDown {
		t.Errorf("%+v", s)
	}
	for range 2 {
		f.step(`{"overlay": "all", "dns": "up", "api-server": "up"}`)
	}
	want = []string{"no more clusterip+endpointslice+retries/rng: API server down", "no more clusterip/rng: DNS down"}
	if diff := cmp.Diff(want, f.did()); diff != "" {
		t.Error(diff)
	}
	if s := f.state(); s.APIServerDown || s.Overlays[0].DNSDown {
		t.Errorf("%+v", s)
	}
}

func TestABadStepIsOneLineAndNothingIsDone(t *testing.T) {
	f := newFixture(t)
	for body, want := range map[string]string{
		`{"overlay": "clusterpi", "kill": 1}`:            `step: overlay: "clusterpi" is not accepted: give all or clusterip or endpointslice+retries`,
		`{"overlay": "all", "kill": "one"}`:              `step:1: kill: "one" is not accepted: give a whole number from 1 to 100`,
		`{"overlay": "all", "drain-node": 1}`:            "step: drain-node: the local environment cannot do that: there is one",
		`{"overlay": "clusterip", "api-server": "down"}`: `step: api-server: there is one for all overlays: give "all" as the overlay`,
		strings.Repeat(" ", 20_000):                      "step: http: request body too large",
	} {
		if status, text := f.step(body); status != 400 || text != want+"\n" {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if did := f.did(); did != nil {
		t.Errorf("%q was done", did)
	}
}

func TestWhatCouldNotBeDoneIsSaidAndTakenDown(t *testing.T) {
	f := newFixture(t)
	f.fails = errors.New("only 0 are\nready")
	status, text := f.step(`{"overlay": "clusterip", "kill": 1, "scale": 7}`)
	if status != 409 || !strings.HasSuffix(text, ": overlay clusterip: only 0 are; ready\n") {
		t.Errorf("%d %s", status, text)
	}
	s := f.state()
	if s.Steps[0].Problem != "overlay clusterip: only 0 are; ready" || s.Overlays[0].Replicas != 3 {
		t.Errorf("%+v", s)
	}
}

func TestThereAreNeverMorePodsThanTheEnvironmentSurvives(t *testing.T) {
	f := newFixture(t)
	begun := time.Now()
	f.lives = make([]scorecard.Life, 17)
	f.lives = append(f.lives, scorecard.Life{EndedAt: &begun})
	for body, want := range map[string]int{
		`{"overlay": "clusterip", "scale": 7}`: 409, `{"overlay": "clusterip", "scale": 6, "rollout": true}`: 409, `{"overlay": "clusterip", "kill": 4}`: 409,
		`{"overlay": "clusterip", "delete": 3}`: 200, `{"overlay": "clusterip", "rollout": true}`: 200, `{"overlay": "clusterip", "dns": "down"}`: 200,
	} {
		if status, text := f.step(body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	f.lives = make([]scorecard.Life, 30)
	if status, text := f.step(`{"overlay": "clusterip", "scale": 1}`); status != 200 {
		t.Errorf("what makes fewer pods is refused: %s", text)
	}
}

func TestTheStateSaysWhatBecameOfThePods(t *testing.T) {
	f := newFixture(t)
	before, after := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	f.step(`{"overlay": "clusterip", "rollout": true}`)
	f.step(`{"overlay": "clusterip", "freeze": 2, "for": "1h", "scale": 4}`)
	f.lives = []scorecard.Life{
		{Service: "rng", CreatedAt: before, ReadyAt: &before},
		{Service: "rng", CreatedAt: before, ReadyAt: &before, UnreadyAt: &before},
		{Service: "rng", CreatedAt: before, ReadyAt: &before, UnreadyAt: &before, EndedAt: &before},
		{Service: "rng", CreatedAt: after, ReadyAt: &after},
		{Service: "rng", CreatedAt: after},
		{Service: "geoip", CreatedAt: before, ReadyAt: &before},
	}
	got := f.state().Overlays[0]
	if got.Replicas != 4 || got.Ready != 2 || got.Starting != 1 || got.Leaving != 1 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"2 frozen for 3600 s more"}, got.Faults); diff != "" || !got.Updating || got.Updated != 1 {
		t.Errorf("%+v", got)
	}
	f.lives = f.lives[2:]
	if f.state().Overlays[0].Updating {
		t.Error("all pods are new, and yet it is not over")
	}
}

func TestEachClientHasAHostOfItsOwnAndItsStreamsAreSeenAsTheyCome(t *testing.T) {
	f := newFixture(t)
	host := "endpointslice-retries.localhost:8000"
	if status, text, _ := f.ask(http.MethodGet, host, "/", ""); status != 200 || text != "live page for "+host {
		t.Errorf("%d %s", status, text)
	}
	if status, text, _ := f.ask(http.MethodPost, host, "/control", "", "Sec-Fetch-Site", "same-origin"); status != 200 || text != "controlled" {
		t.Errorf("%d %s", status, text)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.board.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first := make([]byte, len("data: first\n\n"))
	if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "data: first\n\n" {
		t.Errorf("%q, %v", first, err)
	}
	// It is still open: the end of the test shows that the board ends nevertheless.
}

func TestStrangersAreRefused(t *testing.T) {
	f := newFixture(t)
	const kill = `{"overlay": "all", "kill": 1}`
	for name, test := range map[string]struct {
		host    string
		headers []string
		status  int
	}{
		"another page":           {"", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"an old browser's":       {"", []string{"Origin", "http://example.com"}, 403},
		"a live page's":          {"127.0.0.1:8000", []string{"Origin", "http://clusterip.localhost:8000"}, 403},
		"a name that leads here": {"example.com:8000", nil, 421},
		"no such overlay":        {"nothing.localhost", nil, 404},
		"its own page":           {"", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"a tunnel":               {"localhost:9000", nil, 200},
		"IPv6":                   {"[::1]:8000", nil, 200},
	} {
		if status, text, _ := f.ask(http.MethodPost, test.host, "/step", kill, test.headers...); status != test.status {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text, _ := f.ask(http.MethodPost, "", "/stop", kill); status != 404 || strings.Count(text, "\n") != 1 {
		t.Errorf("%d %s", status, text)
	}
}

func TestThePageHasALivePageAndButtonsForEachOverlayAndForAll(t *testing.T) {
	f := newFixture(t)
	status, page, header := f.ask(http.MethodGet, "localhost:8000", "/", "")
	for _, want := range []string{
		`<iframe src="http://clusterip.localhost:8000/" title="Live page of clusterip’s client">`,
		`<iframe src="http://endpointslice-retries.localhost:8000/" title=`,
		`<code>dns:///rng:8081</code> <code>round_robin</code>`, "About endpointslice&#43;retries.",
		`data-overlay="all"`, `data-overlay="clusterip"`, `<a href="` + f.client + `/"`, `http://localhost:8000/step`,
	} {
		if status != 200 || !strings.Contains(page, want) {
			t.Errorf("%d: the page has not %s", status, want)
		}
	}
	if n := strings.Count(page, `{"rollout": true}'`); n != 3 {
		t.Errorf("%d buttons for a rolling update", n)
	}
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src http://*.localhost:*; frame-ancestors 'none'") {
		t.Error(policy)
	}
	for _, asset := range []string{"/palette.css", "/up.css", "/up.js"} {
		if status, text, _ := f.ask(http.MethodGet, "", asset, ""); status != 200 || text == "" {
			t.Errorf("%s: %d", asset, status)
		}
	}
}

func TestEveryOverlayOfOursSaysInASentenceWhatItDoes(t *testing.T) {
	folders, err := filepath.Glob("../../../kustomize/overlays/*/kustomization.yaml")
	if err != nil || len(folders) < 9 {
		t.Fatalf("%d overlays, %v", len(folders), err)
	}
	for _, folder := range folders {
		about := up.About(filepath.Dir(folder))
		if len(about) < 20 || len(about) > 250 || strings.ContainsAny(about, "`[]#\n") || !strings.HasSuffix(about, ".") {
			t.Errorf("%s: %q", folder, about)
		}
	}
	if about := up.About("../../../kustomize/overlays/clusterip"); about != "One connection to a virtual IP." {
		t.Errorf("%q", about)
	}
	if about := up.About("../../../kustomize/components/keepalive"); about != "keepalive: a connection to a server that has vanished is given up after seconds, not minutes." {
		t.Errorf("%q", about)
	}
	if about := up.About(t.TempDir()); about != "" {
		t.Errorf("%q", about)
	}
}
