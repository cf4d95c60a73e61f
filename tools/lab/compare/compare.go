// Package compare puts results of the lab side by side and says which differences
// exceed the noise.
//
// A side is one experiment with its repeats: the results files of runs of the same
// scenario with the same overlays. Every side is compared with the first. For each
// figure that overlays are compared by (see results.Summary) a side has the median
// of its runs and their spread, from the lowest to the highest.
//
// # The rule of noise
//
// Two sides are apart when every run of one is above every run of the other. If nothing but
// chance differed, n runs and m runs would be apart in 2 of the C(n+m, n) orders in which they
// can fall: in 1 of 3 with two runs a side, 1 of 10 with three, 1 of 35 with four, 1 of 126 with
// five. (This is also the exact two-sided p of the Mann-Whitney U test for such runs; for runs
// that are not apart it is larger.)
//
// A difference is called out when the sides are apart and this chance is at most 1 in 100, which
// is so with five runs a side. With fewer, the gap between the sides has to be at least as
// wide as the wider of their spreads as well, which leaves chance 1 figure in 100 again, whether
// noise is normal, even, exponential or lognormal (a test counts it). Where the chance is above
// 1 in 10, which is with fewer than three runs a side, nothing is called out.
//
// A comparison of 16 services with 19 figures each still has some three that chance alone
// calls out; Tally says how many.
//
// Chance is not all. All runs of one side may have met a busier machine, so a
// difference that the control service of the same overlay shows as well, in the same
// direction, is marked: it is likely to be the environment's and not the strategy's.
//
// With too few runs the control runs are the only measure of noise that there is. Then a
// difference is a hint, and no more, if the controls differ in the same figure as well,
// and none of them so much in proportion.
//
// Where a count is 0 in every run of one side and not in the other's, that is said as it
// is, however few the runs are: that an RPC failed is no estimate.
package compare

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// Comparison is some sides beside each other. Its JSON form is what `lab compare --json`
// writes.
type Comparison struct {
	// Rule says how differences are told from noise.
	Rule  string `json:"rule"`
	Sides []Side `json:"sides"`
	// Environment has what is not the same of where the sides ran.
	Environment []Difference `json:"environment"`
	// Mismatches say what else the sides do not have in common; one sentence each.
	Mismatches []string `json:"mismatches"`
	// Groups are the services of the overlays that the first side and another have, the
	// service under fault of each before all controls.
	Groups []Group `json:"groups"`
	Tally  Tally   `json:"tally"`
}

// Tally counts the figures that were compared.
type Tally struct {
	// Compared are the figures with enough runs on both sides, if any two runs
	// differ; the controls and the phases count where they were asked for.
	Compared int `json:"compared"`
	// CalledOut of them differ by more than the noise, and about ByChance would if nothing but
	// chance differed.
	CalledOut int     `json:"calledOut"`
	ByChance  float64 `json:"byChance"`
}

// Difference is a property of the environment with its value on each side; a side whose runs
// differ has them all.
type Difference struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// Group is one service of one overlay on each side.
type Group struct {
	Overlay string `json:"overlay"`
	Service string `json:"service"`
	Control bool   `json:"control"`
	Rows    []Row  `json:"figures"`
	// Phases are those of the first side's scenario that another side has too.
	Phases []PhaseGroup `json:"phases,omitempty"`
}

// PhaseGroup is a phase of a group.
type PhaseGroup struct {
	Name     string `json:"name"`
	Graceful bool   `json:"graceful"`
	Rows     []Row  `json:"figures"`
}

// Row is one figure on each side.
type Row struct {
	Title string `json:"figure"`
	Cells []Cell `json:"sides"`

	style style
}

// same says that the figure is one value in every run.
func same(r Row) bool {
	return !slices.ContainsFunc(r.Cells[1:], func(c Cell) bool { return c.Verdict != Equal })
}

// Cell is one figure on one side.
type Cell struct {
	Sample

	// Verdict compares the side with the first, whose own is "".
	Verdict Verdict `json:"verdict,omitempty"`
	// ControlToo says that the overlay's control service differs likewise.
	ControlToo bool `json:"controlToo,omitempty"`
	// Hint says that there are too few runs to tell, and that no control run's
	// figure differs so much.
	Hint bool `json:"hint,omitempty"`
}

// Compare compares every side with the first, with the phases each for itself if phases is
// set. It fails if there are fewer than two sides, or if the runs of a side are not repeats
// of one experiment.
func Compare(sides []Side, phases bool) (*Comparison, error) {
	if len(sides) < 2 {
		return nil, fmt.Errorf("compare: %d side, want at least 2", len(sides))
	}
	for i := range sides {
		if err := sides[i].Check(); err != nil {
			return nil, err
		}
	}
	c := &Comparison{
		Rule: Rule, Sides: sides,
		Environment: environment(sides),
		Mismatches:  mismatches(sides),
	}
	for _, control := range []bool{true, false} {
		var groups []Group
		for _, run := range sides[0].runs() {
			if run.Control == control && inAnother(sides, run) {
				groups = append(groups, newGroup(sides, run, phases))
			}
		}
		c.Groups = append(groups, c.Groups...)
	}
	c.lookAtControls()
	c.count()
	return c, nil
}

func inAnother(sides []Side, run *results.Run) bool {
	return slices.ContainsFunc(sides[1:], func(s Side) bool { return s.Results[0].run(run) != nil })
}

func newGroup(sides []Side, run *results.Run, phases bool) Group {
	g := Group{Overlay: run.Overlay, Service: run.Service, Control: run.Control}
	sums := make([][]*results.Summary, len(sides))
	for i := range sides {
		for _, file := range sides[i].Results {
			var sum *results.Summary
			if r := file.run(run); r != nil {
				s := r.Summary(&file.Scenario)
				sum = &s
			}
			sums[i] = append(sums[i], sum)
		}
	}
	g.Rows = newRows(Figures, sums)
	if !phases {
		return g
	}
	script := &sides[0].Results[0].Scenario
	for n, phase := range script.Phases {
		parts := make([][]*results.Phase, len(sides))
		common := false
		for i := range sides {
			for _, file := range sides[i].Results {
				part := file.phase(run, script, n)
				parts[i] = append(parts[i], part)
				common = common || i > 0 && part != nil
			}
		}
		if common {
			g.Phases = append(g.Phases, PhaseGroup{phase.Name, phase.Graceful, newRows(PhaseFigures, parts)})
		}
	}
	return g
}

// newRows leaves out what no side has measured. A value that is nil is a run that
// the side has not got.
func newRows[T any](figures []Figure[T], values [][]*T) []Row {
	var rows []Row
	for _, f := range figures {
		row := Row{Title: f.Title, style: f.style}
		measured := false
		for i, side := range values {
			cell := Cell{Sample: f.Sample(side)}
			measured = measured || len(cell.Values) > 0
			if i > 0 {
				cell.Verdict = f.Judge(row.Cells[0].Sample, cell.Sample)
			}
			row.Cells = append(row.Cells, cell)
		}
		if measured {
			rows = append(rows, row)
		}
	}
	return rows
}

// lookAtControls fills in what the controls say about the other groups.
func (c *Comparison) lookAtControls() {
	var all []Row
	controls := map[string]*Group{}
	for i := range c.Groups {
		if g := &c.Groups[i]; g.Control {
			controls[g.Overlay] = g
			all = append(all, g.Rows...)
		}
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		if g.Control {
			continue
		}
		control := controls[g.Overlay]
		if control == nil {
			control = &Group{}
		}
		lookAt(g.Rows, control.Rows, all)
		for k := range g.Phases {
			p := &g.Phases[k]
			at := slices.IndexFunc(control.Phases, func(q PhaseGroup) bool { return q.Name == p.Name })
			if at >= 0 {
				lookAt(p.Rows, control.Phases[at].Rows, nil)
			}
		}
	}
}

// lookAt compares rows with those of the same overlay's control, and with all controls'.
func lookAt(rows, control, all []Row) {
	for i := range rows {
		row := &rows[i]
		for k := 1; k < len(row.Cells); k++ {
			cell := &row.Cells[k]
			for _, other := range control {
				if other.Title == row.Title && cell.Verdict.Differs() && other.Cells[k].Verdict == cell.Verdict {
					cell.ControlToo = true
				}
			}
			if cell.Verdict != TooFew {
				continue
			}
			noise := 0.0
			for _, other := range all {
				if other.Title == row.Title && len(other.Cells[0].Values) > 0 && len(other.Cells[k].Values) > 0 {
					noise = max(noise, proportion(other.Cells[0].Sample, other.Cells[k].Sample))
				}
			}
			// Where no control differs at all, as in failures, the controls tell nothing of
			// how much a service under fault does.
			cell.Hint = noise > 0 && proportion(row.Cells[0].Sample, cell.Sample) > noise
		}
	}
}

func (c *Comparison) count() {
	add := func(rows []Row) {
		for _, row := range rows {
			first := row.Cells[0].Sample
			for _, cell := range row.Cells[1:] {
				if !enough(first, cell.Sample) || constant(first, cell.Sample) {
					continue
				}
				c.Tally.Compared++
				c.Tally.ByChance += rare
				if exceeds(first, cell.Sample) != 0 {
					c.Tally.CalledOut++
				}
			}
		}
	}
	for _, g := range c.Groups {
		add(g.Rows)
		for _, p := range g.Phases {
			add(p.Rows)
		}
	}
}
