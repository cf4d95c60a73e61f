package compare

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

func written(t *testing.T, c *Comparison, width int) string {
	t.Helper()
	var out bytes.Buffer
	if err := Table(&out, c, width); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// beforeAndAfter has something of everything that is called out.
func beforeAndAfter(t *testing.T) *Comparison {
	t.Helper()
	var before, after []*results.Results
	for i := range 3 {
		n := float64(i)
		kind := func(r *results.Results) { r.Environment.Kind = "kubernetes" }
		before = append(before, record(
			p99("clusterip", "rng", 3+n/10), p99("clusterip", "geoip", 2+n/10),
			p99("endpointslice", "rng", 3+n/10), p99("endpointslice", "geoip", 2+n/10), failed("clusterip", 1, int64(i)),
		))
		after = append(after, record(kind,
			p99("clusterip", "rng", 4+n/10), p99("clusterip", "geoip", 2.5+n/10),
			p99("endpointslice", "rng", 1+n/10), p99("endpointslice", "geoip", 2.1+n/10), failed("endpointslice", 0, 1400*int64(i)/4),
		))
	}
	return compared(t, true, side("before", before...), side("after", after...))
}

func TestTheTableReadsAsInTestdata(t *testing.T) {
	got := written(t, beforeAndAfter(t), 0)
	path := filepath.Join("testdata", "before-after.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not what the test makes; if the change is meant, run go test -update (-file +made):\n%s", path, diff)
	}
}

func TestSidesThatDoNotFitStandInTablesOfTheirOwn(t *testing.T) {
	sides := []Side{p99s("first", 3, 3.1, 3.2)}
	for _, label := range []string{"second", "third", "fourth", "fifth", "sixth", "seventh"} {
		sides = append(sides, p99s(label, 4, 4.1, 4.2))
	}
	c := compared(t, true, sides...)
	for _, width := range []int{70, 100, 200} {
		out := written(t, c, width)
		for line := range strings.SplitSeq(out, "\n") {
			if n := text.StringWidth(line); n > width {
				t.Errorf("%d columns, want at most %d: %s", n, width, line)
			}
		}
		headings := regexp.MustCompile(`(?m)^  figure.*$`).FindAllString(out, -1)
		for _, h := range headings {
			if !strings.Contains(h, "first") {
				t.Errorf("%d columns: a table without the first side: %s", width, h)
			}
		}
		for _, s := range sides {
			if n := strings.Count(strings.Join(headings, "\n"), s.Label); n < len(c.Groups)+1 {
				t.Errorf("%d columns: side %s is in %d tables, want at least %d", width, s.Label, n, len(c.Groups)+1)
			}
		}
	}
}

func TestTheTableOfAFileHasNoColourAndNoNameSteersTheTerminal(t *testing.T) {
	hostile := func(r *results.Results) {
		for i := range r.Runs {
			r.Runs[i].Overlay = "a\x1b[2J\r\nb\u202e" + r.Runs[i].Overlay
			for k := range r.Runs[i].Phases {
				r.Runs[i].Phases[k].Name += "\x1b[31m"
			}
		}
		for k := range r.Scenario.Phases {
			r.Scenario.Phases[k].Name += "\x1b[31m"
		}
		r.Runs[0].Target += "\x1b"
		r.Environment.Kind = "\a"
	}
	a, b := side("a", record(hostile)), side("b", record(hostile, failed("a\x1b[2J\r\nb\u202eclusterip", 0, 3)))
	b.Results[0].Runs[1].Target, b.Results[0].Environment.Kind, b.Files[0] = "\x1bx", "\x1b", "\x1b.json"
	if out := written(t, compared(t, true, a, b), 0); strings.ContainsAny(out, "\x1b\r\a\u202e") {
		t.Errorf("control characters reach the terminal: %q", out)
	}
}

func TestNoDifferenceIsSaidToo(t *testing.T) {
	c := compared(t, false, p99s("a", 1, 2, 3), p99s("b", 1, 2, 3))
	if out := written(t, c, 0); !strings.Contains(out, "No difference is called out.\n") {
		t.Error(out)
	}
}

func TestTheJSONHasWhatTheTableHas(t *testing.T) {
	var out bytes.Buffer
	want := beforeAndAfter(t)
	if err := JSON(&out, want); err != nil {
		t.Fatal(err)
	}
	var got Comparison
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Rule != Rule || got.Tally != want.Tally || len(got.Groups) != 4 || len(got.Groups[0].Phases) != 2 {
		t.Errorf("%+v", got)
	}
	if c := cell(t, &got, "endpointslice", "rng", "p99, ms"); c.Verdict != Lower || *c.Median != 1.1 || len(c.Values) != 3 {
		t.Errorf("%+v", c)
	}
}

func TestThePageAsksNoOtherHostAndNoStringBreaksOut(t *testing.T) {
	page := func(c *Comparison) string {
		var out bytes.Buffer
		if err := HTML(&out, c); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	plain := page(beforeAndAfter(t))
	for _, m := range regexp.MustCompile(`(?i)\b(?:src|srcset|href|action|data|poster)\s*=\s*"([^"]*)"`).FindAllStringSubmatch(plain, -1) {
		if !strings.HasPrefix(m[1], "#") && m[1] != "data:," {
			t.Errorf("the page refers to %q", m[0])
		}
	}
	if found := regexp.MustCompile(`(?i)@import|url\(|<script`).FindString(plain); found != "" {
		t.Errorf("the page has %s", found)
	}
	tags := regexp.MustCompile(`(?i)</?(script|style|img|svg|table)\b|<!--`)
	for _, attack := range []string{`</script><script>alert(1)</script>`, `"><img src=x>`, `<!--`, `]]></style><svg onload=alert(1)>`} {
		c := beforeAndAfter(t)
		c.Sides[1].Label, c.Sides[0].Files[0], c.Environment[0].Values[0] = attack, attack, attack
		c.Mismatches = []string{attack}
		for i := range c.Groups {
			c.Groups[i].Overlay, c.Groups[i].Service, c.Groups[i].Phases[0].Name = attack, attack, attack
		}
		if diff := cmp.Diff(tags.FindAllString(plain, -1), tags.FindAllString(page(c), -1)); diff != "" {
			t.Errorf("%q changes the tags of the page:\n%s", attack, diff)
		}
	}
	for _, words := range []string{
		`<td class="better"><b>1.10 ↓</b> <small>1.00–1.20</small></td>`,
		`<td><b>4.10 ↑c</b> <small>4.00–4.20</small></td>`,
		`<td class="worse"><b>350 !</b> <small>0–700</small></td>`,
	} {
		if !strings.Contains(plain, words) {
			t.Errorf("no %s in the page", words)
		}
	}
}

func TestNumbersAreWrittenAsInTheReport(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{report.Number(0.044), "0.04"},
		{report.Number(30.14), "30.1"},
		{report.Number(1204.4), "1,204"},
		{count(14032), "14,032"},
		{count(-1400), "-1,400"},
		{count(2.5), "2.5"},
		{count(0), "0"},
		{index(0.97), "0.970"},
		{percent(0.333), "33.3 %"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}
