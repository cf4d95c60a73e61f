package matrix

import (
	"embed"
	"fmt"
	"html/template"
	"io"

	"github.com/evenkeel/evenkeel/tools/lab/compare"
)

//go:embed page.html.tmpl
var source embed.FS

var pageTemplate = template.Must(template.New("page.html.tmpl").Funcs(template.FuncMap{
	"style": compare.Style,
}).ParseFS(source, "page.html.tmpl"))

// keyFigures are those in the grid; the tables below it have all.
var keyFigures = []string{"failed, graceful", "failed, all", "never reached, pods", "first RPC worst, s", "p99, ms"}

// view is what the template shows.
type view struct {
	*Record

	KeyFigures                 []string
	Finished, Failed, Expected int
}

// page writes a matrix as a page that asks no other host for anything.
func page(w io.Writer, rec *Record) error {
	v := view{Record: rec, KeyFigures: keyFigures, Expected: len(rec.Runs)}
	for _, run := range rec.Runs {
		switch run.State {
		case Finished:
			v.Finished++
		case Failed:
			v.Failed++
		}
	}
	if err := pageTemplate.Execute(w, v); err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	return nil
}

// Cell is the overlay's under the scenario, of the service under fault; nil if there is none.
func (v view) Cell(scenario, overlay string) *Cell {
	for i := range v.Cells {
		if c := &v.Cells[i]; c.Scenario == scenario && c.Overlay == overlay && !c.Control {
			return c
		}
	}
	return nil
}

// table is one scenario: a row for each figure, a column for each overlay.
type table struct {
	Title string
	Cells []Cell
	Rows  []tableRow
}

type tableRow struct {
	Title   string
	Figures []Figure
}

// Tables are those of a scenario: of the services under fault, and of the controls.
func (v view) Tables(scenario string) []table {
	var tables []table
	for _, control := range []bool{false, true} {
		t := table{Title: "The service under fault"}
		if control {
			t.Title = "The control: no fault was done to it, so its figures are the machine’s noise"
		}
		for _, c := range v.Cells {
			if c.Scenario == scenario && c.Control == control {
				t.Cells = append(t.Cells, c)
			}
		}
		for n, f := range compare.Figures {
			row := tableRow{Title: f.Title}
			measured := false
			for _, c := range t.Cells {
				row.Figures = append(row.Figures, c.Figures[n])
				measured = measured || c.Figures[n].Median != nil
			}
			if measured {
				t.Rows = append(t.Rows, row)
			}
		}
		if len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

// RunsOf are those of a scenario.
func (v view) RunsOf(scenario string) []Run {
	var list []Run
	for _, run := range v.Runs {
		if run.Scenario == scenario {
			list = append(list, run)
		}
	}
	return list
}

// Figure finds one by its title.
func (c *Cell) Figure(title string) Figure {
	for _, f := range c.Figures {
		if f.Title == title {
			return f
		}
	}
	return Figure{}
}

// Reports lead to the cell's place in the reports of its runs.
func (c *Cell) Reports() []link { return c.reports }

// Good says that the runs do not tell the overlay from the best.
func (f Figure) Good() bool { return f.Standing == Best || f.Standing == AsGood }

// Alarm says that RPCs failed, or pods were never reached, that others did not lose.
func (f Figure) Alarm() bool { return f.Standing == Behind && f.countable }

// MedianText is the median as the figure is written.
func (f Figure) MedianText() string {
	if f.Median == nil {
		return "–"
	}
	return f.text(*f.Median)
}

// Spread is from the lowest to the highest run; "" if they are written alike.
func (f Figure) Spread() string {
	words := ""
	if f.Median != nil {
		if from, to := f.text(*f.Min), f.text(*f.Max); from != to {
			words = from + " to " + to
		}
	}
	if n := len(f.Values); n > 0 && n < f.Runs {
		words += fmt.Sprintf(" in %d of %d", n, f.Runs)
	}
	return words
}
