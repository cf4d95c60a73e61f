package conformance_test

import (
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

func TestATableIsReadAsItIsWritten(t *testing.T) {
	first, second := conformance.Results{}, conformance.Results{}
	for i, b := range conformance.Behaviours() {
		first[b.Name] = conformance.Result{Passed: true}
		second[b.Name] = conformance.Failed("line %d\nof a|b", i)
	}
	second[conformance.Behaviours()[0].Name] = conformance.Result{NotApplicable: true, Seen: "why"}
	table := conformance.Table([]string{"one", "two v1"}, []conformance.Results{first, second})
	document, err := conformance.Splice("before\n<!-- table: written by a run, see below -->\n[replaced]\n<!-- end of table -->\nafter\n", table)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document, "before\n") || !strings.HasSuffix(document, "\nafter\n") || strings.Contains(document, "[replaced]") {
		t.Errorf("around the table: %q", document)
	}
	for column, want := range map[int]string{1: "pass", 2: "**no**: line 1 of a|b"} {
		names, cells := conformance.Column(document, column)
		if len(names) != len(conformance.Behaviours())+1 || names[0] != "behaviour" {
			t.Errorf("column %d has %d rows: %q", column, len(names), names)
		}
		if got := cells[conformance.Behaviours()[1].Name]; got != want {
			t.Errorf("column %d is %q, want %q", column, got, want)
		}
	}
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		if strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 4 {
			t.Errorf("not three cells: %s", line)
		}
	}
}

func TestATableNeedsItsPlace(t *testing.T) {
	for _, document := range []string{"", "<!-- table: written by a run, see below -->", "<!-- end of table -->"} {
		if _, err := conformance.Splice(document, "| a |\n"); err == nil {
			t.Errorf("%q has a place for it", document)
		}
	}
}
