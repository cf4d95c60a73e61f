package compare

import (
	"github.com/evenkeel/evenkeel/tools/lab/report"

	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Section is a part of the findings.
type Section struct {
	Title string   `json:"title"`
	Lines []string `json:"lines"`
}

// finding is one line of a section; the clearest come first.
type finding struct {
	line    string
	clarity float64
}

// Findings are what is called out, in words: counts that are 0 on one side only, differences
// that exceed the noise, those of them that the control shows too, and hints. A section
// without a line is left out; there is one that says so when all are.
func (c *Comparison) Findings() []Section {
	var counts, apart, environment, hints, controls []finding
	each := func(g *Group, phase string, rows []Row) {
		for i := range rows {
			row := &rows[i]
			for k := 1; k < len(row.Cells); k++ {
				cell := row.Cells[k]
				if !cell.Verdict.Differs() && !cell.Hint {
					continue
				}
				f := finding{c.sentence(g, phase, row, k), clarity(row.Cells[0].Sample, cell.Sample)}
				switch {
				case g.Control:
					controls = append(controls, f)
				case cell.Hint:
					hints = append(hints, f)
				case cell.ControlToo:
					environment = append(environment, f)
				case cell.Verdict == Some || cell.Verdict == None:
					counts = append(counts, f)
				default:
					apart = append(apart, f)
				}
			}
		}
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		each(g, "", g.Rows)
		for _, p := range g.Phases {
			each(g, p.Name, p.Rows)
		}
	}
	var list []Section
	for _, s := range []struct {
		title string
		found []finding
	}{
		{"None on one side, some on the other", counts},
		{"Differences that exceed the noise, the clearest first", apart},
		{"Differences that the control service shows too: the environment, more likely than the strategy", environment},
		{"Differences of the control service", controls},
		{"Hints: too few runs to tell, but more than any control run differs", hints},
	} {
		if len(s.found) == 0 {
			continue
		}
		slices.SortStableFunc(s.found, func(a, b finding) int { return cmp.Compare(b.clarity, a.clarity) })
		section := Section{Title: s.title}
		for _, f := range s.found {
			section.Lines = append(section.Lines, f.line)
		}
		list = append(list, section)
	}
	if list == nil {
		list = []Section{{Title: "No difference is called out."}}
	}
	return list
}

// clarity is the gap between two samples as a part of the wider spread.
func clarity(a, b Sample) float64 {
	if len(a.Values) == 0 || len(b.Values) == 0 {
		return 0
	}
	switch gap, spread := gap(a, b), spread(a, b); {
	case spread > 0:
		return gap / spread
	case gap > 0:
		return math.Inf(1)
	}
	return 0
}

// sentence says one cell beside the first side's: "endpointslice, p99, ms: before 3.20
// (3.10–3.30), after 4.10 (4.00–4.40): higher, 1.28 times".
func (c *Comparison) sentence(g *Group, phase string, row *Row, k int) string {
	where := g.Overlay
	if g.Control {
		where += " (" + g.Service + ")"
	}
	if phase != "" {
		where += ", phase " + phase
	}
	say := func(k int) string {
		words := c.Sides[k].Label + " " + row.median(k)
		if spread := row.spread(k); spread != "" {
			words += " (" + spread + ")"
		}
		return words
	}
	first, other := row.Cells[0].Sample, row.Cells[k].Sample
	words := fmt.Sprintf("%s, %s: %s, %s", where, row.Title, say(0), say(k))
	switch row.Cells[k].Verdict {
	case Some:
		return words + fmt.Sprintf(": more than 0 in %d of %s of %s", above(other), runs(len(other.Values)), c.Sides[k].Label)
	case None:
		return words + fmt.Sprintf(": more than 0 in %d of %s of %s", above(first), runs(len(first.Values)), c.Sides[0].Label)
	case Higher, Lower:
		words += ": " + string(row.Cells[k].Verdict)
	}
	if *first.Median > 0 && *other.Median > 0 {
		words += ", × " + report.Number(*other.Median / *first.Median)
	}
	return words
}

func above(s Sample) int {
	n := 0
	for _, v := range s.Values {
		if v > 0 {
			n++
		}
	}
	return n
}

// Note says how far the findings can be trusted.
func (c *Comparison) Note() string {
	var words []string
	if !slices.ContainsFunc(c.Sides[1:], func(s Side) bool { return Chance(len(c.Sides[0].Files), len(s.Files)) <= few }) {
		note := "Too few runs to tell a difference from chance: give three or more a side."
		if !slices.ContainsFunc(c.Sides, func(s Side) bool { return len(s.Files) > 1 }) {
			note = "One run a side: no spread is known, so nothing but the control runs tells noise from a difference. Give three or more a side."
		}
		words = append(words, note)
	}
	if c.Tally.Compared > 0 {
		words = append(words, fmt.Sprintf("%d figures that vary were compared with enough runs, and %d of them differ by more than the noise; if nothing differed, chance would make it about %s.",
			c.Tally.Compared, c.Tally.CalledOut, report.Number(c.Tally.ByChance)))
	}
	return strings.Join(words, " ")
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
