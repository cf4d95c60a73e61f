package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/internal/palette"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s is not what the test makes; if the change is meant, run go test -update (-file +made):\n%.4000s", path,
			cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")))
	}
}

func html(t *testing.T, r *results.Results) string {
	t.Helper()
	var page bytes.Buffer
	if err := HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestTheSampleInTestdataIsTheGenerators(t *testing.T) {
	var text bytes.Buffer
	if err := results.Encode(&text, sample()); err != nil {
		t.Fatal(err)
	}
	golden(t, "day.json", text.Bytes())
}

func TestThePageAsksNoOtherHostForAnything(t *testing.T) {
	page := html(t, sample())
	const policy = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">`
	if !strings.Contains(page, policy) {
		t.Errorf("the page has not the policy %s", policy)
	}
	// Whatever a browser loads by itself stands in one of these.
	for _, m := range regexp.MustCompile(`(?i)\b(?:src|srcset|href|action|data|poster)\s*=\s*"([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") && m[1] != "data:," {
			t.Errorf("the page refers to %q", m[0])
		}
	}
	if found := regexp.MustCompile(`@import|url\(`).FindString(palette.CSS + asset("report.css")); found != "" {
		t.Errorf("the style sheet has %s", found)
	}
}

func TestThePageHoldsTheWholeRecord(t *testing.T) {
	want := sample()
	got, err := results.Decode(strings.NewReader(embedded(t, html(t, want))))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-given +embedded:\n%s", diff)
	}
}

func embedded(t *testing.T, page string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, `<script type="application/json" id="results">`)
	text, _, closed := strings.Cut(rest, "</script>")
	if !found || !closed {
		t.Fatal("the page holds no record")
	}
	return text
}

func TestNoStringOfARecordBreaksOutOfItsPlace(t *testing.T) {
	tags := regexp.MustCompile(`(?i)</?(script|style|img|svg)\b|<!--`)
	plain := tags.FindAllString(html(t, hostile("harmless")), -1)
	for _, attack := range []string{
		`</script><script>alert(1)</script>`,
		`<!--<script>`,
		`"><img src=x onerror=alert(1)>`,
		`' onmouseover='alert(1)`,
		`{{template "page"}}`,
		"`${alert(1)}`",
		"\u2028alert(1)\u2029",
		`]]></style><svg onload=alert(1)>`,
	} {
		r := hostile(attack)
		page := html(t, r)
		if diff := cmp.Diff(plain, tags.FindAllString(page, -1)); diff != "" {
			t.Errorf("%q changes the tags of the page (-harmless +hostile):\n%s", attack, diff)
		}
		var got results.Results
		if err := json.Unmarshal([]byte(embedded(t, page)), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, &got); diff != "" {
			t.Errorf("%q does not arrive whole (-given +embedded):\n%s", attack, diff)
		}
	}
}

// hostile is a record with s in every string.
func hostile(s string) *results.Results {
	r := sample()
	r.Runs = r.Runs[:1]
	r.Environment = results.Environment{Kind: s, Version: s, GoVersion: s, OS: s, Arch: s}
	r.Scenario.Name, r.Scenario.Description, r.Scenario.Service = s, s, s
	r.Scenario.Load = map[string]float64{s: 1}
	r.Notes = []string{s}
	run := &r.Runs[0]
	run.Overlay, run.Service, run.Target, run.ServiceConfig = s, s, s, s
	for i := range run.Phases {
		p := &run.Phases[i]
		r.Scenario.Phases[i].Name, r.Scenario.Phases[i].Action, p.Name, p.FirstError = s, s, s, s
		p.ErrorsByCode = map[string]int64{s: 1}
		p.Pods = p.Pods[:min(1, len(p.Pods))]
		for k := range p.Pods {
			p.Pods[k].Name = s
		}
	}
	for i := range run.Timeline.Pods {
		run.Timeline.Pods[i].Name = s
	}
	return r
}

func TestAMissingFigureIsADashWithItsReason(t *testing.T) {
	r := sample()
	r.Runs = r.Runs[:1]
	for i := range r.Runs[0].Phases {
		r.Runs[0].Phases[i].Cost.DNSQueries = nil
	}
	page := html(t, r)
	want := `<span class="none" title="this environment cannot see it" aria-label="not measured: this environment cannot see it">–</span>`
	if n := strings.Count(page, want); n < 1+len(r.Runs[0].Phases) {
		t.Errorf("%d dashes for DNS queries, want one in the scorecard and one in each of %d phases", n, len(r.Runs[0].Phases))
	}
	if strings.Contains(page, "not measured: \"") {
		t.Error("a dash has no reason")
	}
}

func TestARecordThatContradictsItselfIsNoPage(t *testing.T) {
	r := sample()
	r.Runs[2].Phases[1].LatencyMs.P99 = new(float64)
	*r.Runs[2].Phases[1].LatencyMs.P99 = math.NaN()
	var page bytes.Buffer
	err := HTML(&page, r)
	if err == nil || !strings.Contains(err.Error(), "runs[2].phases[1].latencyMs.p99: NaN") {
		t.Errorf("error %v, want one that names the field", err)
	}
	if page.Len() > 0 {
		t.Errorf("%d bytes of a page were written", page.Len())
	}
}

func TestARecordWithNothingInItIsStillAPage(t *testing.T) {
	r := &results.Results{
		SchemaVersion: results.SchemaVersion, StartedAt: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		Scenario: results.Scenario{Name: "none", Service: "rng"},
	}
	if page := html(t, r); !strings.Contains(page, "No overlays, one scenario: none") {
		t.Error("the page has no heading")
	}
	r.Runs = []results.Run{{Overlay: "clusterip", Service: "rng"}}
	if page := html(t, r); !strings.Contains(page, "<dd>sent no RPC.</dd>") {
		t.Error("the page does not say that nothing was sent")
	}
}

func TestNothingStandsBesideASingleOverlay(t *testing.T) {
	r := sample()
	if page := html(t, r); strings.Count(page, `class="multiple"`) != 8 || !strings.Contains(page, "Side by side") {
		t.Error("eight overlays are not side by side")
	}
	r.Runs = r.Runs[:1]
	if page := html(t, r); strings.Contains(page, `class="multiple"`) || strings.Contains(page, "Side by side") || !strings.Contains(page, `<ol class="timetable">`) {
		t.Error("a single overlay is put beside itself, or its phases are not listed")
	}
}

func TestTheCommandToRepeatIsSafeToPaste(t *testing.T) {
	r := sample()
	if got, want := command(r), "lab run --env local --scenario tools/lab/scenarios/day.yaml clusterip clusterip-max-connection-age dns-round-robin dns-round-robin-max-connection-age api-watch dns-srv endpointslice consistent-hash"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.Scenario.Name = "day; rm -rf '~'"
	r.Runs = r.Runs[:1]
	if got, want := command(r), `lab run --env local --scenario 'tools/lab/scenarios/day; rm -rf '\''~'\''.yaml' clusterip`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
