package compare

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/evenkeel/evenkeel/tools/lab/report"
)

const (
	// defaultWidth is what a terminal is taken to have when nobody says.
	defaultWidth = 100
	indent       = "  "
)

// legend explains the marks in the tables.
const legend = `median of the runs, and the lowest to the highest where they differ
↑ ↓  above, below the first side by more than the noise
!    0 in all runs of one side only
?    a hint, from too few runs
c    the overlay's control service differs likewise
`

// phaseLegend does so for phases.
const phaseLegend = `*    a graceful phase: nothing excuses a failed RPC
figures of a phase that are the same in every run are left out
`

// Table writes a comparison for a terminal of width columns, 100 if it is 0: what is not the
// same, each group's figures, and at the end what is called out. Sides that do not fit beside
// each other stand in tables of their own, each with the first. It uses colour only when w is a
// terminal and the environment does not forbid it.
func Table(w io.Writer, c *Comparison, width int) error {
	if width <= 0 {
		width = defaultWidth
	}
	alarm := fmt.Sprint
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		alarm = text.Colors{text.Bold}.Sprint
	}
	var out strings.Builder
	heading(&out, c, width)
	legend := legend
	for _, g := range c.Groups {
		title := g.Overlay + " (" + g.Service + ")"
		if g.Control {
			title += ", control: no fault was done to it"
		}
		out.WriteString("\n" + report.Printable(title) + "\n" + c.rows(g.Rows, width, alarm))
		for _, p := range g.Phases {
			legend = strings.TrimSuffix(legend, phaseLegend) + phaseLegend
			if rows := slices.DeleteFunc(slices.Clone(p.Rows), same); len(rows) > 0 {
				out.WriteString("\n" + indent + report.Printable(phaseTitle(p)) + "\n" + c.rows(rows, width, alarm))
			}
		}
	}
	if len(c.Groups) > 0 {
		out.WriteString("\n" + legend)
	}
	out.WriteString("\n")
	for _, s := range c.Findings() {
		out.WriteString(s.Title + "\n")
		for _, line := range s.Lines {
			out.WriteString(report.Fill(report.Printable(line), indent, width))
		}
	}
	out.WriteString("\n" + report.Fill(c.Note(), "", width) + report.Fill(c.Rule, "", width))
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	return nil
}

func phaseTitle(p PhaseGroup) string {
	if p.Graceful {
		return "phase " + p.Name + " *"
	}
	return "phase " + p.Name
}

// heading says what is compared, and what about it is not the same.
func heading(out *strings.Builder, c *Comparison, width int) {
	t := newTable()
	for _, s := range c.Sides {
		t.AppendRow(table.Row{report.Printable(s.Label), runs(len(s.Files)), report.Printable(s.Files[0]) + more(len(s.Files)-1)})
	}
	out.WriteString(report.TrimLines(t.Render()) + "\n")
	if len(c.Environment) > 0 {
		out.WriteString("\nThe environment is not the same\n")
		for _, d := range c.Environment {
			out.WriteString(report.Fill(report.Printable(d.Name+": "+strings.Join(d.Values, " | ")), indent, width))
		}
	}
	if len(c.Mismatches) > 0 {
		out.WriteString("\nThe experiment is not the same; what is common is compared\n")
		for _, m := range c.Mismatches {
			out.WriteString(report.Fill(report.Printable(m), indent, width))
		}
	}
	if len(c.Groups) == 0 {
		out.WriteString("\nNo overlay is common to the first side and another.\n")
	}
}

func newTable() table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Box = table.BoxStyle{PaddingRight: "  ", MiddleHorizontal: "─"}
	style.Format = table.FormatOptions{}
	style.Options = table.Options{SeparateHeader: true}
	t.SetStyle(style)
	return t
}

// rows are a table of figures, or as many as it takes for the width: all sides beside
// each other, else each table the first side and some others.
func (c *Comparison) rows(rows []Row, width int, alarm func(...any) string) string {
	others := len(c.Sides) - 1
	for fit := others; ; fit-- {
		var out strings.Builder
		widest := 0
		for from := 1; from <= others; from += fit {
			part := c.part(rows, from, min(from+fit, others+1), alarm)
			widest = max(widest, text.LongestLineLen(part))
			out.WriteString(part)
		}
		if widest <= width || fit == 1 {
			return out.String()
		}
	}
}

// part has the first side and those from one to before another.
func (c *Comparison) part(rows []Row, from, to int, alarm func(...any) string) string {
	t := newTable()
	header := table.Row{indent + "figure"}
	var configs []table.ColumnConfig
	shown := []int{0}
	for k := from; k < to; k++ {
		shown = append(shown, k)
	}
	for i, k := range shown {
		header = append(header, report.Printable(c.Sides[k].Label), "")
		configs = append(configs, table.ColumnConfig{Number: 2 + 2*i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		line := table.Row{indent + row.Title}
		for _, k := range shown {
			cell := &row.Cells[k]
			spread := row.spread(k)
			if mark := cell.mark(); mark != "" {
				spread = strings.TrimLeft(spread+" "+alarm(mark), " ")
			}
			line = append(line, row.median(k), spread)
		}
		t.AppendRow(line)
	}
	return report.TrimLines(t.Render()) + "\n"
}

// mark is a cell's verdict in a character or two.
func (c *Cell) mark() string {
	mark := ""
	switch c.Verdict {
	case Higher:
		mark = "↑"
	case Lower:
		mark = "↓"
	case Some, None:
		mark = "!"
	}
	if c.Hint {
		mark = "?"
	}
	if c.ControlToo {
		mark += "c"
	}
	return mark
}

func (r *Row) median(k int) string {
	if r.Cells[k].Median == nil {
		return none
	}
	return r.style.format(*r.Cells[k].Median)
}

// spread is that of the runs, if there are two that differ.
func (r *Row) spread(k int) string {
	c := r.Cells[k]
	if len(c.Values) == 0 {
		return ""
	}
	words := ""
	if from, to := r.style.format(*c.Min), r.style.format(*c.Max); from != to {
		words = strings.TrimSuffix(from, " %") + "–" + to
	}
	if len(c.Values) < c.Runs {
		words = strings.TrimLeft(fmt.Sprintf("%s in %d of %d", words, len(c.Values), c.Runs), " ")
	}
	return words
}
