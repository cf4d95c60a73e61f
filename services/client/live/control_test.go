package live_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/services/client/keys"
	"github.com/evenkeel/evenkeel/services/client/live"
	"github.com/evenkeel/evenkeel/services/client/load"
	"github.com/evenkeel/evenkeel/services/client/status"
)

// post sends a change, with headers in pairs, and returns the status and the answer.
func (w *world) post(body string, headers ...string) (int, map[string]any) {
	w.Helper()
	request, err := http.NewRequest(http.MethodPost, w.base+"/control", strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		w.Fatalf("%s: %s: %v", response.Status, text, err)
	}

	return response.StatusCode, answer
}

func TestTheControlsChangeTheLoadWhileItRunsAndTheReportSaysSo(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	code, in := w.post(`{"service": "rng", "rate": 200, "concurrency": 8, "keys": "uniform", "payload": 7}`)
	if code != http.StatusOK || in["rate"] != 200.0 || in["concurrency"] != 8.0 || in["keys"] != "uniform" || in["payload"] != 7.0 || in["byHand"] != true {
		t.Errorf("%d %v", code, in)
	}
	u := w.until("an RPC as it was asked for, and the event", func(u *live.ServiceUpdate) bool {
		user, _ := w.pods[0].user.Load().(string)

		return w.pods[0].values.Load() == 7 && strings.HasPrefix(user, "[user-") && happened(u, "control") == 1
	})
	for _, e := range u.Events {
		if e.Kind == "control" && e.Text != "open loop, 200 RPCs/s, keys: uniform, values per RPC: 7" {
			t.Errorf("the event says %q", e.Text)
		}
	}
	report := status.NewReport([]status.Service{{Name: "rng", Generator: w.generator}})
	if s := report.Services[0]; !s.ChangedByHand || s.Rate != 200 || s.Keys == nil || s.Keys.Distribution != "uniform" {
		t.Errorf("the report: %+v", s)
	}

	if code, in = w.post(`{"service": "rng", "rate": 0, "keys": "none"}`); code != http.StatusOK || in["rate"] != 0.0 || in["concurrency"] != 8.0 || in["keys"] != "none" {
		t.Errorf("%d %v", code, in)
	}
	w.until("a closed loop", func(u *live.ServiceUpdate) bool { return u.Figures.RPS > 250 })
}

func TestABadChangeIsOneLineThatNamesItAndChangesNothing(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	for body, want := range map[string]string{
		`{"service": "rng", "rate": 200001}`:               "rate: 200001 is out of range: give 0 or 0.001 to 100000",
		`{"service": "rng", "rate": -1}`:                   "rate: -1 is out of range",
		`{"service": "rng", "rate": 1e-9}`:                 "rate: 1e-09 is out of range",
		`{"service": "rng", "rate": 1e999}`:                "rate: a number 1e999 is not accepted: give a number",
		`{"service": "rng", "rate": "fast"}`:               "rate: a string is not accepted: give a number",
		`{"service": "rng", "concurrency": 0}`:             "concurrency: 0 is out of range: give 1 to 10000",
		`{"service": "rng", "concurrency": 1.5}`:           "concurrency: a number 1.5 is not accepted: give a whole number",
		`{"service": "rng", "payload": 1001}`:              "payload: 1001 is out of range: give 1 to 1000",
		`{"service": "rng", "keys": "<all>"}`:              `keys: "<all>" is not accepted: give none, uniform, zipf`,
		`{"service": "geoip", "rate": 1}`:                  `service: "geoip" is not called by this client`,
		`{"rate": 1}`:                                      "service: is missing: give rng or geoip",
		`{"service": "rng", "speed": 1}`:                   `unknown field "speed"`,
		`{"service": "rng"} {}`:                            "there is more after the change: give one JSON object",
		`rate=1`:                                           "the change is not one JSON object with",
		``:                                                 "the change is not one JSON object with",
		`{"service": "` + strings.Repeat("x", 5000) + `"}`: "has over 4096 bytes",
	} {
		code, in := w.post(body)
		got, _ := in["error"].(string)
		if code < 400 || !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%.60s\ngot:  %d %s\nwant: %s", body, code, got, want)
		}
	}
	if w.generator.Changed() {
		t.Errorf("a refused change is in force: %+v", w.generator.Plan())
	}
}

func TestAPageOfAnotherOriginCannotChangeTheLoad(t *testing.T) {
	w := newWorld(t, 1, 50, "round_robin")
	const change = `{"service": "rng", "rate": 1}`
	for name, headers := range map[string][]string{
		"cross-site":     {"Sec-Fetch-Site", "cross-site"},
		"same-site":      {"Sec-Fetch-Site", "same-site"},
		"another origin": {"Origin", "http://evil.example"},
	} {
		if code, in := w.post(change, headers...); code != http.StatusForbidden || in["error"] == nil {
			t.Errorf("%s: %d %v", name, code, in)
		}
	}
	// A form needs no leave to be sent, but cannot be of this type.
	if code, _ := w.post(change, "Content-Type", "text/plain"); code != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", code)
	}
	if w.generator.Changed() {
		t.Error("the load was changed")
	}
	if code, _ := w.post(change, "Sec-Fetch-Site", "same-origin", "Origin", w.base, "Content-Type", "application/json; charset=utf-8"); code != http.StatusOK {
		t.Errorf("the page itself: %d", code)
	}
}

func FuzzParseChange(f *testing.F) {
	for _, seed := range []string{
		`{"service": "rng", "rate": 200, "concurrency": 8, "keys": "uniform", "payload": 7}`,
		`{"service": "rng", "rate": 1e999}`, `{"service": "rng", "rate": -0}`, `{"service": "", "payload": 1001}`,
		`{"service": "geoip", "keys": null}`, `null`, `[]`, `{`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := live.ParseChange(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %q is more than a line", text, err)
			}

			return
		}
		if c.Service == "" || (c.Rate != nil && load.CheckRate(*c.Rate) != nil) ||
			(c.Concurrency != nil && (*c.Concurrency < 1 || *c.Concurrency > load.MaxConcurrency)) ||
			(c.Payload != nil && (*c.Payload < 1 || *c.Payload > load.MaxPayload)) ||
			(c.Keys != nil && *c.Keys != keys.None && *c.Keys != keys.Uniform && *c.Keys != keys.Zipf) {
			t.Errorf("%q is accepted: %+v", text, c)
		}
	})
}
