package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

const (
	// defaultWidth is what a terminal is taken to have when nobody says.
	defaultWidth = 100
	// narrowest is the least that an overlay's name gets.
	narrowest = 12
)

// terminalColumn is a figure of the terminal's scorecard; a new one needs a line
// here.
type terminalColumn struct {
	title  string
	figure func(*results.Summary) figure
}

// terminalColumns fill 100 columns exactly, so with keys their affinity takes the place of
// the median latency.
func terminalColumns(keyed bool) []terminalColumn {
	list := []terminalColumn{
		{"max/\nmean", func(s *results.Summary) figure { return measured(s.Steady.MaxOverMean, Number) }},
		{"failed\ngraceful", gracefulFailures},
		{"failed\nin all", func(s *results.Summary) figure { return counted(s.Failed, false) }},
		{"new pod\nreached, s", func(s *results.Summary) figure {
			return figure{Text: reached(&s.NewPods), Alarm: s.NewPods.Never > 0}
		}},
		{"dead\npod, s", func(s *results.Summary) figure { return measured(s.OffPods.Worst, Number) }},
		{"p50\nms", func(s *results.Summary) figure { return measured(s.Steady.P50, Number) }},
		{"p99\nms", func(s *results.Summary) figure { return measured(s.Steady.P99, Number) }},
		{"conns", func(s *results.Summary) figure { return measured(s.Connections, Count) }},
	}
	if !keyed {
		return list
	}
	list = slices.DeleteFunc(list, func(c terminalColumn) bool { return c.title == "p50\nms" })

	return slices.Insert(list, 1, terminalColumn{"same\npod", func(s *results.Summary) figure {
		return measured(s.Steady.Affinity, func(f float64) string { return Number(down(f, 100)) })
	}})
}

// legend explains what the headings are too narrow for.
const legend = `new pod reached: median / worst from being ready to the first RPC, or how many never were;
dead pod: worst from no longer being ready to the last RPC sent there; conns: most open at once
`

// keyLegend does so for keys.
const keyLegend = `same pod: share of RPCs on the pod of their key's RPC before, 1/N is chance (see max/mean too)
`

// Table writes the scorecard of the service under fault for a terminal of width
// columns, 100 if it is 0, and below it the phases in which RPCs failed or keys moved, and
// what is to be known before trusting a figure. It uses colour only when w is a terminal and
// the environment does not forbid it.
func Table(w io.Writer, r *results.Results, width int) error {
	if width <= 0 {
		width = defaultWidth
	}
	alarm := fmt.Sprint
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		alarm = text.Colors{text.FgRed, text.Bold}.Sprint
	}
	out := scores(r, width, alarm) + "\n" + legend
	if r.Keyed() {
		out += keyLegend
	}
	out += "\n" + failuresByPhase(r, width) + movesByPhase(r, width) + controls(r) + notes(r, width)
	if _, err := io.WriteString(w, out); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func scores(r *results.Results, width int, alarm func(...any) string) string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Box = table.BoxStyle{PaddingRight: "  ", MiddleHorizontal: "─"}
	style.Format = table.FormatOptions{HeaderAlign: text.AlignRight, HeaderVAlign: text.VAlignBottom}
	style.Options = table.Options{SeparateHeader: true}
	t.SetStyle(style)

	header := table.Row{"overlay"}
	configs := []table.ColumnConfig{{Number: 1, AlignHeader: text.AlignLeft, WidthMaxEnforcer: breakAtHyphen}}
	columns := terminalColumns(r.Keyed())
	widths := make([]int, len(columns))
	for i, c := range columns {
		header = append(header, c.title)
		configs = append(configs, table.ColumnConfig{Number: i + 2, Align: text.AlignRight})
		widths[i] = text.LongestLineLen(c.title)
	}
	t.AppendHeader(header)
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Control {
			continue
		}
		sum := run.Summary(&r.Scenario)
		line := table.Row{Printable(run.Overlay)}
		for k, c := range columns {
			f := c.figure(&sum)
			widths[k] = max(widths[k], text.LongestLineLen(f.Text))
			if f.Alarm {
				f.Text = alarm(f.Text)
			}
			line = append(line, f.Text)
		}
		t.AppendRow(line)
	}
	// The names get what the figures leave.
	configs[0].WidthMax = width - 2
	for _, w := range widths {
		configs[0].WidthMax -= w + 2
	}
	configs[0].WidthMax = max(narrowest, configs[0].WidthMax)
	t.SetColumnConfigs(configs)
	return TrimLines(t.Render())
}

// breakAtHyphen breaks an overlay's name where its words meet.
func breakAtHyphen(name string, width int) string {
	var lines []string
	rest := []rune(name)
	for len(rest) > width {
		cut := width
		for cut > 0 && rest[cut-1] != '-' {
			cut--
		}
		if cut == 0 {
			cut = width
		}
		lines = append(lines, string(rest[:cut]))
		rest = rest[cut:]
	}
	return strings.Join(append(lines, string(rest)), "\n")
}

// failuresByPhase has a line for each phase in which an overlay failed RPCs.
func failuresByPhase(r *results.Results, width int) string {
	lines := byPhase(r, width, func(_ *results.Run, p *results.Phase) string {
		if p.Failed == 0 {
			return ""
		}
		return Count(p.Failed)
	})
	if lines == "" {
		return "No RPC failed in any phase.\n"
	}
	return "Failed RPCs by phase (* graceful: nothing excuses them)\n" + lines
}

// movesByPhase has a line for each phase in which keys moved that might have stayed, of the
// overlays whose keys have pods to move from.
func movesByPhase(r *results.Results, width int) string {
	lines := byPhase(r, width, func(run *results.Run, p *results.Phase) string {
		sum := run.Summary(&r.Scenario)
		if !keepsKeys(&sum.Steady) || p.MovedKeys == nil || p.MovedKeysIdeal == nil || *p.MovedKeysIdeal >= 1 {
			return ""
		}
		return Number(*p.MovedKeys) + "/" + Number(*p.MovedKeysIdeal)
	})
	if lines == "" {
		return ""
	}
	return "Share of keys moved / share that had to, by phase, of overlays that keep them on pods\n" + lines
}

// byPhase has a line for each phase with what there is to say of each overlay; "" is nothing.
func byPhase(r *results.Results, width int, say func(*results.Run, *results.Phase) string) string {
	var names []string
	var said [][]string
	for i, phase := range r.Scenario.Phases {
		var items []string
		for k := range r.Runs {
			run := &r.Runs[k]
			if run.Control || i >= len(run.Phases) {
				continue
			}
			if words := say(run, &run.Phases[i]); words != "" {
				items = append(items, Printable(run.Overlay)+" "+words)
			}
		}
		if len(items) == 0 {
			continue
		}
		name := Printable(phase.Name)
		if phase.Graceful {
			name += " *"
		}
		names = append(names, name)
		said = append(said, items)
	}
	var out strings.Builder
	indent := 2 + text.LongestLineLen(strings.Join(names, "\n")) + 2
	for i, name := range names {
		out.WriteString("  " + text.Pad(name, indent-2, ' ') + list(said[i], indent, width) + "\n")
	}
	return out.String()
}

// list puts items after each other, on a new line where one would pass width.
func list(items []string, indent, width int) string {
	var out strings.Builder
	at := indent
	for i, item := range items {
		if i < len(items)-1 {
			item += ","
		}
		long := text.StringWidthWithoutEscSequences(item)
		switch {
		case i > 0 && at+1+long > width:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		case i > 0:
			out.WriteString(" ")
			at++
		}
		out.WriteString(item)
		at += long
	}
	return out.String()
}

// controls sums up the runs that no fault was done to.
func controls(r *results.Results) string {
	var services []string
	var rpcs, failed int64
	var p99 *float64
	for i := range r.Runs {
		run := &r.Runs[i]
		if !run.Control {
			continue
		}
		sum := run.Summary(&r.Scenario)
		rpcs, failed = rpcs+sum.RPCs, failed+sum.Failed
		if sum.P99 != nil && (p99 == nil || *sum.P99 > *p99) {
			p99 = sum.P99
		}
		if name := Printable(run.Service); !slices.Contains(services, name) {
			services = append(services, name)
		}
	}
	if len(services) == 0 {
		return ""
	}
	return fmt.Sprintf("Control, without faults (%s): %s of %s RPCs failed, worst p99 %s ms\n",
		strings.Join(services, ", "), Count(failed), Count(rpcs), orNone(p99, Number))
}

// notes are what a reader should know before trusting a figure.
func notes(r *results.Results, width int) string {
	var out strings.Builder
	for _, note := range r.Notes {
		out.WriteString("\n" + Fill("Note: "+Printable(note), "", width))
	}
	return out.String()
}
