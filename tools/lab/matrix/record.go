package matrix

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/compare"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// Record is what matrix.json holds: the runs, and what each overlay came to under each
// scenario. The figures of a single run are in its results.json.
type Record struct {
	StartedAt time.Time `json:"startedAt"`
	Overlays  []string  `json:"overlays"`
	Scenarios []string  `json:"scenarios"`
	Repeats   int       `json:"repeats"`
	// Rule says how overlays are told apart.
	Rule string `json:"rule"`
	Runs []Run  `json:"runs"`
	// Cells are the overlays under the scenarios, as far as runs have finished.
	Cells []Cell `json:"cells"`
}

// State is how far a run has come.
type State string

// The states of a run.
const (
	Waiting  State = "waiting"
	Finished State = "finished"
	Failed   State = "failed"
)

// Run is one run of all overlays under a scenario.
type Run struct {
	Scenario string `json:"scenario"`
	Repeat   int    `json:"repeat"`
	// Folder is where its files are, from that of the matrix.
	Folder string `json:"folder"`
	State  State  `json:"state"`
	Error  string `json:"error,omitempty"`
	// Seconds is how long it took; 0 for one that was there already.
	Seconds float64 `json:"seconds,omitempty"`

	results *results.Results
}

// Cell is a service of an overlay under a scenario.
type Cell struct {
	Scenario string   `json:"scenario"`
	Overlay  string   `json:"overlay"`
	Service  string   `json:"service"`
	Control  bool     `json:"control"`
	Figures  []Figure `json:"figures"`

	reports []link
}

// link leads to the cell's place in the report of a run.
type link struct {
	Repeat int
	URL    string
}

// Figure is one figure over the repeats.
type Figure struct {
	compare.Sample

	Title string `json:"figure"`
	// Standing is beside the other overlays; "" where there are too few runs to tell, and of
	// a figure of which neither more nor less is better.
	Standing Standing `json:"standing,omitempty"`

	text      func(float64) string
	countable bool
}

// Standing is where an overlay stands in a figure.
type Standing string

// The standings: the best by its median; not told from it by the rule of noise; and behind it
// by more than the noise.
const (
	Best   Standing = "best"
	AsGood Standing = "as good"
	Behind Standing = "behind"
)

// repeats says where the finished runs of a scenario, and some more, are not of one experiment.
func (rec *Record) repeats(scenario string, more ...Run) error {
	side := compare.Side{Label: scenario}
	for _, run := range slices.Concat(rec.finished(scenario), more) {
		side.Files = append(side.Files, run.Folder)
		side.Results = append(side.Results, compare.Record{Results: run.results})
	}
	if len(side.Files) == 0 {
		return nil
	}
	return side.Check()
}

func (rec *Record) finished(scenario string) []Run {
	var list []Run
	for _, run := range rec.Runs {
		if run.Scenario == scenario && run.State == Finished {
			list = append(list, run)
		}
	}
	return list
}

// fill works the cells out anew.
func (rec *Record) fill() {
	rec.Cells = []Cell{}
	for _, scenario := range rec.Scenarios {
		finished := rec.finished(scenario)
		if len(finished) == 0 {
			continue
		}
		var cells []Cell
		for _, overlay := range rec.Overlays {
			// Any run will do to say which services there are: they are repeats.
			for _, run := range finished[0].results.Runs {
				if run.Overlay == overlay {
					cells = append(cells, newCell(scenario, overlay, run.Service, run.Control, finished))
				}
			}
		}
		rank(cells, false)
		rank(cells, true)
		rec.Cells = append(rec.Cells, cells...)
	}
}

func newCell(scenario, overlay, service string, control bool, finished []Run) Cell {
	c := Cell{Scenario: scenario, Overlay: overlay, Service: service, Control: control}
	var sums []*results.Summary
	for _, run := range finished {
		for i := range run.results.Runs {
			one := &run.results.Runs[i]
			if one.Overlay != overlay || one.Service != service {
				continue
			}
			sum := one.Summary(&run.results.Scenario)
			sums = append(sums, &sum)
			// The report numbers its anchors by the order of the runs.
			c.reports = append(c.reports, link{run.Repeat, fmt.Sprintf("%s/report.html#run-%d", run.Folder, i)})
		}
	}
	for _, f := range compare.Figures {
		c.Figures = append(c.Figures, Figure{Sample: f.Sample(sums), Title: f.Title, text: f.Text, countable: f.Countable})
	}
	return c
}

// rank says, of each figure, where the services under fault of a scenario stand, or its controls.
func rank(cells []Cell, control bool) {
	for n, f := range compare.Figures {
		var all []*Figure
		var best *Figure
		for i := range cells {
			figure := &cells[i].Figures[n]
			if cells[i].Control != control || figure.Median == nil || f.Better() == 0 {
				continue
			}
			all = append(all, figure)
			if best == nil || better(figure, best, f.Better()) {
				best = figure
			}
		}
		for _, figure := range all {
			switch verdict := f.Judge(best.Sample, figure.Sample); {
			case verdict.Differs():
				figure.Standing = Behind
			case *figure.Median == *best.Median:
				figure.Standing = Best
			case verdict != compare.TooFew:
				figure.Standing = AsGood
			}
		}
	}
}

// better says whether a's median is better than b's, or as good and its worst run better. The
// direction is 1 if higher is better, -1 if lower is.
func better(a, b *Figure, direction int) bool {
	if *a.Median != *b.Median {
		return *a.Median > *b.Median == (direction > 0)
	}
	if direction > 0 {
		return *a.Min > *b.Min
	}
	return *a.Max < *b.Max
}

// write writes matrix.json and index.html.
func (rec *Record) write(dir string) error {
	rec.fill()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	if err := replace(filepath.Join(dir, "matrix.json"), func(f *os.File) error {
		_, err := f.Write(append(text, '\n'))
		return err
	}); err != nil {
		return err
	}
	return replace(filepath.Join(dir, "index.html"), func(f *os.File) error { return page(f, rec) })
}
