package results_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func sample(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "report", "testdata", "day.json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func decoded(t *testing.T) *results.Results {
	t.Helper()
	r, err := results.Decode(bytes.NewReader(sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// small returns a function that makes the sample's first four runs.
func small(t *testing.T) func() *results.Results {
	t.Helper()
	r := decoded(t)
	r.Runs = r.Runs[:4]
	var text bytes.Buffer
	if err := results.Encode(&text, r); err != nil {
		t.Fatal(err)
	}
	return func() *results.Results {
		var r results.Results
		if err := json.Unmarshal(text.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return &r
	}
}

func TestARecordSurvivesTheWayToTextAndBack(t *testing.T) {
	want := decoded(t)
	// Brackets and digits in a string are no list of counts.
	want.Notes = []string{"[\n 1,\n 2\n]", "a  b"}
	var text bytes.Buffer
	if err := results.Encode(&text, want); err != nil {
		t.Fatal(err)
	}
	got, err := results.Decode(&text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-encoded +decoded:\n%s", diff)
	}
}

func TestFieldsOfALaterLabAreLetThrough(t *testing.T) {
	text := bytes.Replace(sample(t), []byte(`"schemaVersion": 1,`), []byte(`"schemaVersion": 1, "weather": {"wind": [1, 2]},`), 1)
	if _, err := results.Decode(bytes.NewReader(text)); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotTheFormatIsRefusedWithItsPlace(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":           {"", `results: line 1:1: unexpected end of JSON input`},
		"no JSON":           {"{\n  \"schemaVersion\": 1,\n  oops\n}", `results: line 3:3: invalid character 'o' looking for beginning of object key string`},
		"cut off":           {"{\n  \"schemaVersion\": 1,\n  \"runs\": [", `results: line 3:11: unexpected end of JSON input`},
		"two records":       {"{\"schemaVersion\": 1}\n{}", `results: line 2:1: invalid character '{' after top-level value`},
		"a list":            {"[]", `results: line 1:1: a JSON array, want an object`},
		"no version":        {"{}", `results: schemaVersion: missing, want 1`},
		"another version":   {`{"schemaVersion": 2, "runs": "changed"}`, `results: schemaVersion: 2, want 1`},
		"version in words":  {`{"schemaVersion": "one"}`, `results: schemaVersion: "one", want 1`},
		"version in a list": {"{\"schemaVersion\": [\n1, 2]}", `results: schemaVersion: [ 1, 2], want 1`},
		"a string as a count": {
			"{\"schemaVersion\": 1,\n \"runs\": [{\"phases\": [{\"rpcs\": \"many\"}]}]}",
			`results: line 2:37: runs.phases.rpcs: a JSON string, want int64`,
		},
		"a fraction of an RPC": {
			"{\"schemaVersion\": 1, \"runs\": [{\"timeline\": {\"rpcs\": [1.5]}}]}",
			`results: line 1:56: runs.timeline.rpcs: a JSON number 1.5, want int64`,
		},
		"no time": {
			"{\"schemaVersion\": 1, \"startedAt\": \"2026-11-21T00:00:00Z\",\n\"runs\": [{\"timeline\": {\"startedAt\": \"tomorrow\"}}]}",
			`results: line 2:37: startedAt: "tomorrow", want a time such as "2026-11-21T22:49:00Z"`,
		},
		"a number as a time": {
			`{"schemaVersion": 1, "startedAt": 5}`,
			`results: line 1:35: startedAt: 5, want a time such as "2026-11-21T22:49:00Z"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := results.Decode(strings.NewReader(test.text))
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestARecordThatContradictsItselfIsRefusedWithTheField(t *testing.T) {
	fresh := small(t)
	for want, spoil := range map[string]func(*results.Results){
		`schemaVersion: 7, want 1`: func(r *results.Results) { r.SchemaVersion = 7 },
		`startedAt: missing`:       func(r *results.Results) { r.StartedAt = time.Time{} },
		`environment.cpus: -1, want 0 or more`: func(r *results.Results) {
			r.Environment.CPUs = -1
		},
		`environment.busyFraction: 62, want 0 to 1`: func(r *results.Results) { r.Environment.BusyFraction = new(62.0) },
		`environment.stealFraction: -0.1, want 0 to 1`: func(r *results.Results) {
			r.Environment.StealFraction = new(-0.1)
		},
		`scenario.name: missing`:    func(r *results.Results) { r.Scenario.Name = "" },
		`scenario.service: missing`: func(r *results.Results) { r.Scenario.Service = "" },
		`scenario.load["rng"]: +Inf, want 0 to 1.099511627776e+12`: func(r *results.Results) {
			r.Scenario.Load["rng"] = math.Inf(1)
		},
		`scenario.phases[1].seconds: -3, want 0 to 3.16224e+07`: func(r *results.Results) {
			r.Scenario.Phases[1].Seconds = -3
		},
		`scenario.phases[2].startedAt: 2026-11-21T22:49:00Z, want no earlier than the phase before it`: func(r *results.Results) {
			r.Scenario.Phases[2].StartedAt = time.Date(2026, 11, 21, 22, 49, 0, 0, time.UTC)
		},
		`runs[1].overlay: missing`: func(r *results.Results) { r.Runs[1].Overlay = "" },
		`runs[3]: overlay "clusterip" and service "rng" are those of runs[0] already`: func(r *results.Results) {
			r.Runs[3].Overlay = "clusterip"
		},
		`runs[0].phases: 6 of them, want the scenario's 7`: func(r *results.Results) {
			r.Runs[0].Phases = r.Runs[0].Phases[:6]
		},
		`runs[0].phases[1].name: "lunch", want the scenario's "scale up"`: func(r *results.Results) {
			r.Runs[0].Phases[1].Name = "lunch"
		},
		`runs[0].phases[0].rpcs: -1200, want 0 to 1099511627776`: func(r *results.Results) { r.Runs[0].Phases[0].RPCs = -1200 },
		`runs[0].phases[0].failed: 1201, want at most the phase's 1200 rpcs`: func(r *results.Results) {
			r.Runs[0].Phases[0].Failed = 1201
		},
		`runs[0].phases[0].errorsByCode["UNKNOWN"]: -1, want 0 to 1099511627776`: func(r *results.Results) {
			r.Runs[0].Phases[0].ErrorsByCode["UNKNOWN"] = -1
		},
		`runs[0].phases[0].maxOverMean: NaN, want 0 to 5000`:            func(r *results.Results) { r.Runs[0].Phases[0].MaxOverMean = new(math.NaN()) },
		`runs[0].phases[0].jain: 1.5, want 0 to 1.000001`:               func(r *results.Results) { r.Runs[0].Phases[0].Jain = new(1.5) },
		`runs[0].keys.distribution: "normal", want "uniform" or "zipf"`: func(r *results.Results) { r.Runs[0].Keys = &results.Keys{Distribution: "normal"} },
		`runs[0].keys.count: 0, want 1 to 1099511627776`: func(r *results.Results) {
			r.Runs[0].Keys = &results.Keys{Distribution: "uniform", Header: "x-user-id"}
		},
		`runs[0].keys.skew: NaN, want 0 to 1000`: func(r *results.Results) {
			r.Runs[0].Keys = &results.Keys{Distribution: "zipf", Count: 1, Skew: math.NaN(), Header: "x-user-id"}
		},
		`runs[0].keys.header: missing`:                        func(r *results.Results) { r.Runs[0].Keys = &results.Keys{Distribution: "uniform", Count: 1} },
		`runs[0].phases[0].affinity: 1.1, want 0 to 1.000001`: func(r *results.Results) { r.Runs[0].Phases[0].Affinity = new(1.1) },
		`runs[0].phases[0].movedKeys: -0.1, want 0 to 1`:      func(r *results.Results) { r.Runs[0].Phases[0].MovedKeys = new(-0.1) },
		`runs[0].phases[0].movedKeysIdeal: NaN, want 0 to 1`:  func(r *results.Results) { r.Runs[0].Phases[0].MovedKeysIdeal = new(math.NaN()) },
		`runs[0].phases[0].latencyMs.p90: -Inf, want 0 to 3.16224e+10`: func(r *results.Results) {
			r.Runs[0].Phases[0].LatencyMs.P90 = new(math.Inf(-1))
		},
		`runs[0].phases[0].connections: -2, want 0 to 1099511627776`: func(r *results.Results) { r.Runs[0].Phases[0].Connections = new(int64(-2)) },
		`runs[0].phases[0].cost.watchBytes: -2, want 0 to 1099511627776`: func(r *results.Results) {
			r.Runs[0].Phases[0].Cost.WatchBytes = new(int64(-2))
		},
		`runs[0].phases[0].pods[1].offSeconds: -0.5, want 0 to 3.16224e+07`: func(r *results.Results) {
			r.Runs[0].Phases[0].Pods[1].OffSeconds = new(-0.5)
		},
		`runs[0].phases[0].pods[2].name: missing`: func(r *results.Results) { r.Runs[0].Phases[0].Pods[2].Name = "" },
		`runs[0].phases[0].pods[2].name: "twin" is in the phase already`: func(r *results.Results) {
			pods := r.Runs[0].Phases[0].Pods
			pods[0].Name, pods[2].Name = "twin", "twin"
		},
		`runs[0].timeline.binSeconds: 0, want 0.001 to 3.16224e+07`: func(r *results.Results) { r.Runs[0].Timeline.BinSeconds = 0 },
		`runs[0].timeline.failed: 287 bins, want the 288 of the timeline's rpcs`: func(r *results.Results) {
			r.Runs[0].Timeline.Failed = r.Runs[0].Timeline.Failed[1:]
		},
		`runs[0].timeline.pods[4].rpcs: 0 bins, want the 288 of the timeline's rpcs`: func(r *results.Results) {
			r.Runs[0].Timeline.Pods[4].RPCs = nil
		},
		`runs[0].timeline.pods[4].rpcs[7]: -1, want 0 to 1099511627776`: func(r *results.Results) { r.Runs[0].Timeline.Pods[4].RPCs[7] = -1 },
		`runs[0].timeline.pods[4].endReason: "bored", want "drained", "killed" or none`: func(r *results.Results) {
			r.Runs[0].Timeline.Pods[4].EndReason = "bored"
		},
		`runs[0].timeline.pods[0].unreadyAt: 2026-11-21T22:00:00Z, want no earlier than its readyAt`: func(r *results.Results) {
			early := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
			r.Runs[0].Timeline.Pods[0].UnreadyAt = &early
		},
		`runs: 201 of them, want at most 200`: func(r *results.Results) { r.Runs = make([]results.Run, 201) },
		`runs[0].timeline.pods: 5001 of them, want at most 5000`: func(r *results.Results) {
			r.Runs[0].Timeline.Pods = make([]results.TimelinePod, 5001)
		},
	} {
		r := fresh()
		spoil(r)
		if err := r.Validate(); err == nil || err.Error() != "results: "+want {
			t.Errorf("got  %v\nwant results: %s", err, want)
		}
		if err := results.Encode(io.Discard, r); err == nil {
			t.Errorf("a record is written although %s", want)
		}
	}
}

func TestATimeToFirstRPCMayBeBelowZero(t *testing.T) {
	r := decoded(t)
	r.Runs[0].Phases[1].Pods[0].FirstRPCSeconds = new(-0.01)
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMoreThanAnyExperimentIsNotRead(t *testing.T) {
	_, err := results.Decode(io.LimitReader(spaces{}, 1<<40))
	if want := "results: larger than 32 MiB, the most that is read"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// FuzzDecode holds that whatever is read is refused or can be shown.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schemaVersion": 1}`))
	f.Add([]byte(`{"schemaVersion": 1, "startedAt": "2026-11-21T22:50:00Z", "scenario": {"name": "day", "service": "rng",
		"phases": [{"name": "steady", "startedAt": "2026-11-21T22:50:00Z", "seconds": 6, "graceful": true}]},
		"runs": [{"overlay": "clusterip", "service": "rng", "keys": {"distribution": "zipf", "count": 300, "skew": 1.1, "header": "x-user-id"}, "phases": [{"name": "steady", "startedAt": "2026-11-21T22:50:00Z", "seconds": 6,
		"rpcs": 10, "failed": 1, "errorsByCode": {"UNAVAILABLE": 1}, "maxOverMean": 2, "jain": 0.5, "affinity": 0.98, "movedKeys": 0.3, "movedKeysIdeal": 0.2, "latencyMs": {"p50": 1},
		"pods": [{"name": "a", "rpcs": 9, "readyAt": "2026-11-21T22:50:01Z", "firstRpcSeconds": 0.1, "offSeconds": 1}]}],
		"timeline": {"startedAt": "2026-11-21T22:50:00Z", "binSeconds": 3, "rpcs": [5, 5], "failed": [0, 1],
		"pods": [{"name": "a", "readyAt": "2026-11-21T22:50:01Z", "rpcs": [4, 5], "endReason": "killed"}]}}]}`))
	f.Add([]byte(`{"schemaVersion": 1, "startedAt": "x", "runs": [null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := results.Decode(bytes.NewReader(text))
		if err != nil {
			if r != nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error %q is not one line, or comes with a record", err)
			}
			return
		}
		if err := report.HTML(io.Discard, r); err != nil {
			t.Errorf("HTML: %v", err)
		}
		if err := report.Table(io.Discard, r, 0); err != nil {
			t.Errorf("Table: %v", err)
		}
		var again bytes.Buffer
		if err := results.Encode(&again, r); err != nil {
			t.Fatalf("Encode: %v", err)
		}
		if _, err := results.Decode(&again); err != nil {
			t.Errorf("what Encode wrote is refused: %v", err)
		}
	})
}
