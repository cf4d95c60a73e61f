package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func written(t *testing.T, r *results.Results, width int) string {
	t.Helper()
	var out bytes.Buffer
	if err := Table(&out, r, width); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheTableOfTheSampleReadsAsInTestdata(t *testing.T) {
	golden(t, "day.txt", []byte(written(t, sample(), 0)))
}

func TestTheTableFitsItsWidth(t *testing.T) {
	for _, width := range []int{100, 120, 200} {
		for _, r := range []*results.Results{sample(), keyless(sample())} {
			out := written(t, r, width)
			for line := range strings.SplitSeq(out, "\n") {
				if n := text.StringWidth(line); n > width {
					t.Errorf("%d columns, want at most %d: %s", n, width, line)
				}
			}
			if !strings.Contains(out, "\ndns-round-robin-max-connection-age ") {
				t.Errorf("the longest name is broken at %d columns:\n%s", width, out)
			}
		}
	}
}

// keyless takes the keys away from a record.
func keyless(r *results.Results) *results.Results {
	for i := range r.Runs {
		r.Runs[i].Keys = nil
		for k := range r.Runs[i].Phases {
			p := &r.Runs[i].Phases[k]
			p.Affinity, p.MovedKeys, p.MovedKeysIdeal = nil, nil, nil
		}
	}
	return r
}

func TestTheTableSpeaksOfKeysOnlyIfThereAreAny(t *testing.T) {
	with, without := written(t, sample(), 0), written(t, keyless(sample()), 0)
	for _, words := range []string{"same pod: ", "Share of keys moved", "consistent-hash                     1.48  1.00 "} {
		if !strings.Contains(with, words) || strings.Contains(without, words) {
			t.Errorf("%q is to be in the table with keys only:\n%s\n%s", words, with, without)
		}
	}
	if words := "p50   p99"; strings.Contains(with, words) || !strings.Contains(without, words) {
		t.Errorf("%q is to be in the table without keys only:\n%s\n%s", words, with, without)
	}
}

func TestTheTableOfAFileHasNoColour(t *testing.T) {
	if strings.Contains(written(t, sample(), 0), "\x1b") {
		t.Error("an escape sequence went into something that is no terminal")
	}
}

func TestANameDoesNotSteerTheTerminal(t *testing.T) {
	r := sample()
	for i := range r.Runs {
		r.Runs[i].Overlay = "a\x1b[2J\r\nb\u202e"
		r.Runs[i].Service = "\x1b]0;title\a"
	}
	for i := range r.Scenario.Phases {
		r.Scenario.Phases[i].Name = "\x1b[31mred"
	}
	out := written(t, r, 0)
	if strings.ContainsAny(out, "\x1b\r\a\u202e") {
		t.Errorf("a name's control characters reach the terminal: %q", out)
	}
}

func TestARunWithoutFailuresSaysSo(t *testing.T) {
	r := sample()
	for i := range r.Runs {
		for k := range r.Runs[i].Phases {
			r.Runs[i].Phases[k].Failed = 0
		}
	}
	if out := written(t, r, 0); !strings.Contains(out, "No RPC failed in any phase.") {
		t.Errorf("got:\n%s", out)
	}
}

func TestANameThatIsTooLongBreaksWhereItsWordsMeet(t *testing.T) {
	for _, test := range []struct {
		name  string
		width int
		want  string
	}{
		{"clusterip", 12, "clusterip"},
		{"dns-round-robin-max-connection-age", 26, "dns-round-robin-max-\nconnection-age"},
		{"unbreakable", 5, "unbre\nakabl\ne"},
		{"", 5, ""},
	} {
		if got := breakAtHyphen(test.name, test.width); got != test.want {
			t.Errorf("%q at %d: got %q, want %q", test.name, test.width, got, test.want)
		}
	}
}

func TestWhatIsToBeKnownBeforeTrustingAFigureIsBelowTheTable(t *testing.T) {
	r := sample()
	r.Notes = []string{"clusterip: somebody changed the load of rng by hand while it ran: its figures are not of the scenario's load.", "a\x1b[2J"}
	want := `
Note: clusterip: somebody changed the load of rng by hand while it ran: its figures are not of the
scenario's load.

Note: a` + "\ufffd" + `[2J
`
	if out := written(t, r, 0); !strings.HasSuffix(out, want) {
		t.Errorf("got:\n%s", out)
	}
	r.Notes = nil
	if out := written(t, r, 0); strings.Contains(out, "Note") {
		t.Errorf("got:\n%s", out)
	}
}
