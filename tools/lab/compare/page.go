package compare

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/evenkeel/evenkeel/internal/palette"
)

//go:embed assets
var assets embed.FS

var pageTemplate = template.Must(template.ParseFS(assets, "assets/compare.html.tmpl"))

// Style is the style sheet of pages that compare.
func Style() template.CSS {
	text, err := assets.ReadFile("assets/compare.css")
	if err != nil {
		// The name is our own: one that is not embedded cannot be released.
		panic(err)
	}
	return template.CSS(palette.CSS + string(text)) //nolint:gosec // our own files
}

// JSON writes a comparison for machines.
func JSON(w io.Writer, c *Comparison) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	if _, err := w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	return nil
}

// HTML writes a comparison as a page that asks no other host for anything.
func HTML(w io.Writer, c *Comparison) error {
	var labels []string
	for _, s := range c.Sides {
		labels = append(labels, s.Label)
	}
	p := page{Comparison: c, Title: strings.Join(labels, " against ")}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	*Comparison

	Title string
}

// Style is the page's.
func (page) Style() template.CSS { return Style() }

// part is some rows, with the sides that they are of.
type part struct {
	Sides []Side
	Rows  []Row
}

// With gives rows to a template of their own.
func (p page) With(rows []Row) part { return part{p.Sides, rows} }

// shown is a cell in words.
type shown struct{ Median, Spread, Mark, Class string }

// Shown are the cells of a row in words.
func (r *Row) Shown() []shown {
	var list []shown
	for k := range r.Cells {
		cell := &r.Cells[k]
		s := shown{r.median(k), r.spread(k), cell.mark(), ""}
		if up := cell.Verdict.direction() * r.style.better; up != 0 && !cell.ControlToo {
			s.Class = map[bool]string{true: "better", false: "worse"}[up > 0]
		}
		list = append(list, s)
	}
	return list
}
