package conformance

import (
	"errors"
	"fmt"
	"strings"
)

// Results are those of every behaviour, by its name, for one resolver.
type Results map[string]Result

// The lines of a document between which the table stands.
const (
	tableBegin = "<!-- table: written by a run, see below -->"
	tableEnd   = "<!-- end of table -->"
)

// Table writes the table of some resolvers in Markdown: under the heading of each group, a row for each behaviour and a
// column for each resolver.
func Table(columns []string, results []Results) string {
	var out strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	row(append([]string{"behaviour"}, columns...)...)
	row(strings.Split(strings.Repeat("--- ", len(columns)+1)[:4*len(columns)+3], " ")...)
	for _, group := range Groups() {
		row(append([]string{"**" + group.Heading + "**"}, make([]string, len(columns))...)...)
		for _, behaviour := range group.Behaviours {
			cells := []string{escaped(behaviour.Name)}
			for _, of := range results {
				cells = append(cells, escaped(of[behaviour.Name].String()))
			}
			row(cells...)
		}
	}

	return out.String()
}

// escaped keeps a text within its cell.
func escaped(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}

// Splice puts a table between the marks of a document.
func Splice(document, table string) (string, error) {
	before, rest, begins := strings.Cut(document, tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return "", errors.New("the document lacks the line " + tableBegin + " or, after it, " + tableEnd)
	}

	return before + tableBegin + "\n" + table + tableEnd + after, nil
}

// Column reads the cells of a column of the table in a document, by behaviour. The first column is 1.
func Column(document string, number int) ([]string, map[string]string) {
	_, rest, _ := strings.Cut(document, tableBegin)
	table, _, _ := strings.Cut(rest, tableEnd)
	var names []string
	cells := map[string]string{}
	for line := range strings.Lines(table) {
		fields := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), " | ")
		if len(fields) <= number {
			continue
		}
		field := func(i int) string {
			return strings.ReplaceAll(strings.TrimSpace(strings.Trim(fields[i], "| ")), "\x00", "|")
		}
		name := field(0)
		if strings.HasPrefix(name, "**") || name == "---" {
			continue
		}
		names = append(names, name)
		cells[name] = field(number)
	}

	return names, cells
}
